"""Log drivers: programs that read a container's output (``binary://PATH?KEY=VALUE``, containerd docs on logging).

They get the output on descriptor 3, the errors on 4, and close 5 when they are ready: nothing starts before.
"""

from __future__ import annotations

import fcntl
import os
import signal
from urllib.parse import parse_qsl

from pycontainerd.contracts.errors import DeadlineExceeded, FailedPrecondition

from . import loop
from .reaper import ENVIRONMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reaper import Reaper

_READY = 30.0  # seconds to become ready
_EXIT_SEEN = 0.02  # after the end of the pipe, for an exit that caused it
_LEAVE = 1.0  # to end by itself when its input has
_TERMINATE = 10.0  # after SIGTERM


class Logger:
    """A running log driver."""

    def __init__(self, pid: int, ended: loop.Future) -> None:
        self._pid = pid
        self._ended = ended

    @classmethod
    async def start(
        cls,
        reaper: Reaper,
        scheme: str,
        target: str,
        outputs: tuple[int, int],
        *,
        id: str,  # noqa: A002
        namespace: str,
    ) -> Logger:
        """Start the program; ``outputs`` are the reading ends of two pipes, which stay the caller's.

        :raises NotFound: there is no such program.
        :raises FailedPrecondition: it ended instead of becoming ready.
        :raises DeadlineExceeded: it did not become ready.
        """
        path, _, query = target.partition("?")
        argv = [path]
        for key, value in parse_qsl(query, keep_blank_values=True):
            argv += [key, value] if value else [key]
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (*outputs, writing)]
        os.close(writing)
        try:
            environment = {**ENVIRONMENT, b"CONTAINER_ID": id.encode(), b"CONTAINER_NAMESPACE": namespace.encode()}
            os.set_blocking(copies[2], True)
            pid, ended = reaper.spawn(
                argv, descriptors=dict(zip((3, 4, 5), copies, strict=True)), environment=environment
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            for fd in copies:
                os.close(fd)
        logger = cls(pid, ended)
        try:
            await logger._ready(reading, path, must_live=scheme == "binary-v2")
        except BaseException:
            await logger.stop()
            raise
        return logger

    async def _ready(self, reading: int, path: str, *, must_live: bool) -> None:
        try:
            await loop.within(_READY, loop.readable(reading))
            word = os.read(reading, 1)
        except TimeoutError:
            raise DeadlineExceeded(f"the log driver {path} was not ready within {_READY:g} s") from None
        finally:
            os.close(reading)
        if word:
            return
        await loop.wait([self._ended], _EXIT_SEEN)
        if must_live or (self._ended.done and self._ended.result()):
            raise FailedPrecondition(f"the log driver {path} ended before it was ready")

    async def stop(self) -> None:
        """Wait for its end, which it comes to when its input ends; with SIGTERM and SIGKILL if need be."""
        for patience, number in ((_LEAVE, signal.SIGTERM), (_TERMINATE, signal.SIGKILL), (_TERMINATE, None)):
            if await loop.wait([self._ended], patience):
                return
            if number is not None:
                try:
                    os.kill(self._pid, number)
                except ProcessLookupError:
                    continue
