"""The daemon's side of the zygote: start it, and have it make shims."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys

from pycontainerd.contracts.errors import BY_CODE, DeadlineExceeded, Internal, Unavailable
from pycontainerd.contracts.shim import ShimStart

from . import protocol

__all__ = ["ShimStart", "ZygoteClient", "spawn"]


class ZygoteClient:
    """Asks the zygote for shims; starts a new zygote should the old one have died. See `contracts.shim.Zygote`."""

    def __init__(self) -> None:
        self._control, self._process = _launch()
        self._number = 0
        self._drivers: set[str] = set()  # those that the zygote has imported
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self, request: ShimStart, *, timeout: float = 10.0) -> int:
        """The pid of a new shim, which accepts connections.

        :raises NotFound: the driver cannot be imported, or the bundle is not there.
        :raises Unavailable: the zygote died or cannot fork, or the socket cannot be bound.
        :raises DeadlineExceeded: no answer within ``timeout`` seconds.
        """
        try:
            async with asyncio.timeout(timeout), self._turn:
                self._revive()
                if request.driver not in self._drivers:
                    # By the zygote and not by the shim: what is imported before the fork is shared.
                    await self._ask(request, protocol.LOAD, request.driver, *sys.path)
                    self._drivers.add(request.driver)
                return int(await self._ask(request, protocol.START, *protocol.fields(request)))
        except TimeoutError:
            raise DeadlineExceeded(
                f"cannot start a shim for {request.id!r}: the zygote did not answer within {timeout:g} s"
            ) from None

    def _revive(self) -> None:
        if self._process.poll() is not None:
            self._control.close()
            self._control, self._process = _launch()
            self._drivers.clear()

    async def _ask(self, request: ShimStart, kind: str, *fields: str) -> str:
        """Send a message; the answer to it."""
        loop = asyncio.get_running_loop()
        self._number += 1
        try:
            await loop.sock_sendall(self._control, protocol.encode(kind, str(self._number), *fields))
            while True:
                data = await loop.sock_recv(self._control, protocol.MAX_MESSAGE)
                if not data:
                    raise Unavailable(f"cannot start a shim for {request.id!r}: the zygote died")
                number, answer, *error = protocol.decode(data)
                if int(number) == self._number:  # else it is late: whoever asked has given up
                    break
        except OSError as exc:
            raise Unavailable(f"cannot start a shim for {request.id!r}: the zygote is gone: {exc}") from exc
        if error:
            code, text, hint = error
            raise BY_CODE.get(code, Internal)(text, hint=hint)
        return answer

    def close(self) -> None:
        """End the zygote; its shims live on."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _launch() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A fresh interpreter, not a fork of the daemon: nothing the daemon has imported or opened gets into shims."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    ours.setblocking(False)
    # glibc's arenas and thresholds are for programs with threads and large heaps; a shim is neither.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pycontainerd.shim.nursery",
                "zygote",
                str(theirs.fileno()),
                "-" * protocol.TITLE_ROOM,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=environment,
        )
    except OSError as exc:
        ours.close()
        raise Unavailable(f"cannot start the zygote ({sys.executable}): {exc}") from exc
    finally:
        theirs.close()
    return ours, process


def spawn() -> ZygoteClient:
    """Start the zygote; returns at once, while it is still importing."""
    return ZygoteClient()
