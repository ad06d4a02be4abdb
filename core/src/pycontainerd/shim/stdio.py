"""The I/O of one process: what it gets as standard streams, and how that reaches what a client asked for.

A FIFO is opened at both ends here, so that a client can go and another come without the process noticing. The process
itself gets pipes and never a client's FIFO.
"""

from __future__ import annotations

import os
import stat
import time

from pycontainerd.contracts.errors import ContainerdError, InvalidArgument, NotFound
from pycontainerd.sys.mountcalls import translate

from . import loop
from .driver import Streams
from .pump import Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .console import ConsoleSocket
    from .logger import Logger
    from .reaper import Reaper

_DRAIN = 10.0  # seconds for output to be taken after the end of a process
_QUIET = 1.0  # of them, while nothing comes: who still holds the pipe is not the process
_END_OF_INPUT = b"\x04"
_LOGGERS = ("binary", "binary-v2")


class Stdio:
    """Where a process reads and writes: paths of FIFOs, or URIs; empty ones are closed."""

    __slots__ = ("stderr", "stdin", "stdout", "terminal")

    def __init__(self, stdin: str, stdout: str, stderr: str, terminal: bool) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal

    def fields(self) -> dict[str, str | bool]:
        """As events and states have them."""
        return {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr, "terminal": self.terminal}


class ProcessIO:
    """Make one, `prepare` it, give the process `streams`, then `connect` (or `abandon`); `drain` when it has ended."""

    def __init__(self, reaper: Reaper, stdio: Stdio, *, id: str, namespace: str, owner: tuple[int, int]) -> None:  # noqa: A002
        self._reaper = reaper
        self._stdio = stdio
        self._id = id
        self._namespace = namespace
        self._owner = owner
        self._given: dict[int, int] = {}  # the process's ends, closed once it has them
        self._sources: list[tuple[int, int, bool]] = []  # pairs to pump: output to sink
        self._input: tuple[int, int] | None = None
        self._input_writer = -1
        self._outputs: list[Pump] = []
        self._stdin: Pump | None = None
        self._logger: Logger | None = None
        self._socket: ConsoleSocket | None = None
        self._terminal = -1
        self._size: tuple[int, int] | None = None
        self._over = False

    async def prepare(self) -> Streams:
        """Open everything that the process needs.

        :raises ContainerdError: something cannot be opened; nothing stays open.
        """
        try:
            if self._stdio.terminal:
                from .console import ConsoleSocket

                self._socket = ConsoleSocket()
                return Streams({}, self._socket.path)
            if self._stdio.stdin:
                reader, self._input_writer = _open_input(self._stdio.stdin)
                self._input = (reader, self._pipe(0))
            scheme, target = _split(self._stdio.stdout)
            if scheme in _LOGGERS:
                await self._open_logger(scheme, target)
            else:
                # Both streams go into the one file: `file` knows no second one.
                if self._stdio.stdout:
                    self._open_output(1, self._stdio.stdout)
                if self._stdio.stderr:
                    self._open_output(2, self._stdio.stdout if scheme == "file" else self._stdio.stderr)
            return Streams(self._given.copy())
        except OSError as exc:
            await self.abandon()
            raise translate(exc, f"open the streams of {self._id}: {exc.filename or ''}") from exc
        except BaseException:
            await self.abandon()
            raise

    def _open_output(self, number: int, target: str) -> None:
        sink, fifo = _open_sink(target)
        self._sources.append((-1, sink, fifo))
        self._sources[-1] = (self._pipe(number), sink, fifo)

    def _pipe(self, number: int) -> int:
        """A pipe for a stream of the process: the end that stays here, non-blocking."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        here, there = (writing, reading) if number == 0 else (reading, writing)
        self._given[number] = there
        if self._owner != (0, 0):
            os.fchown(there, *self._owner)
        os.set_blocking(here, False)
        return here

    async def _open_logger(self, scheme: str, target: str) -> None:
        from .logger import Logger

        output, error = self._pipe(1), self._pipe(2)
        for fd in (output, error):
            os.set_blocking(fd, True)
        try:
            self._logger = await Logger.start(
                self._reaper, scheme, target, (output, error), id=self._id, namespace=self._namespace
            )
        finally:
            os.close(output)
            os.close(error)

    async def connect(self) -> None:
        """The process has its ends: take the terminal, begin to move bytes."""
        for fd in self._given.values():
            os.close(fd)
        self._given.clear()
        if self._socket is not None:
            await self._connect_terminal(self._socket)
            self._socket.close()
            self._socket = None
        sources, self._sources = self._sources, []
        for source, sink, fifo in sources:
            self._outputs.append(Pump(source, sink, splice=fifo))
        if self._input is not None:
            self._stdin = Pump(*self._input)
            self._input = None
            self._stdin.ended.on_done(self._input_ended)

    async def _connect_terminal(self, socket: ConsoleSocket) -> None:
        self._terminal = await socket.receive()
        if self._size is not None:
            self.resize(*self._size)
        scheme, target = _split(self._stdio.stdout)
        if scheme in _LOGGERS:
            await self._open_logger(scheme, target)
            sink = self._given.pop(1)
            os.close(self._given.pop(2))
            os.set_blocking(sink, False)
            self._sources.append((os.dup(self._terminal), sink, False))
        elif self._stdio.stdout:
            self._sources.append((os.dup(self._terminal), _open_sink(self._stdio.stdout)[0], False))
        if self._stdio.stdin:
            reader, self._input_writer = _open_input(self._stdio.stdin)
            self._input = (reader, os.dup(self._terminal))

    def _input_ended(self, _: object) -> None:
        """A terminal does not end with its input: say so as a person would."""
        if self._terminal >= 0 and not self._over:
            try:
                os.write(self._terminal, _END_OF_INPUT)
            except OSError:
                return  # nobody is left to read it

    def resize(self, width: int, height: int) -> None:
        """Set the size of the terminal, of one to come too; nothing if there will be none."""
        self._size = (width, height)
        if self._terminal >= 0:
            from .console import resize

            resize(self._terminal, width, height)

    def close_stdin(self) -> None:
        """The client has no more input: what it has written so far still arrives."""
        if self._input_writer >= 0:
            os.close(self._input_writer)
            self._input_writer = -1

    def ended(self) -> None:
        """The process is gone: nobody reads its input any more."""
        self._over = True
        self.close_stdin()
        if self._stdin is not None:
            self._stdin.close()

    async def drain(self) -> None:
        """Wait until all output has arrived, then close everything."""
        end = time.monotonic() + _DRAIN
        while (left := [pump for pump in self._outputs if not pump.ended.done]) and time.monotonic() < end:
            before = sum(pump.moved for pump in left)
            await loop.wait([pump.ended for pump in left], _QUIET)
            if all(pump.idle for pump in left) and before == sum(pump.moved for pump in left):
                break
        await self.abandon()

    async def abandon(self) -> None:
        """Close everything now."""
        self.ended()
        for pump in self._outputs:
            pump.close()
        fds = [*self._given.values(), *(self._input or ()), self._terminal]
        for source, sink, _ in self._sources:
            fds += (source, sink)
        for fd in fds:
            if fd >= 0:
                os.close(fd)
        self._given.clear()
        self._sources.clear()
        self._input = None
        self._terminal = -1
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._logger is not None:
            logger, self._logger = self._logger, None
            await logger.stop()


def _split(target: str) -> tuple[str, str]:
    """Scheme and rest of a URI; a path has no scheme.

    :raises InvalidArgument: the scheme is unknown, or has a host.
    """
    scheme, separator, rest = target.partition("://")
    if not separator:
        return "", target
    if scheme not in ("fifo", "file", "binary", "binary-v2"):
        raise InvalidArgument(f"unknown scheme of stream {target!r}", hint="known are fifo, file, binary, binary-v2")
    if not rest.startswith("/"):
        raise InvalidArgument(f"the path of stream {target!r} is not absolute")
    return scheme, rest


def _open_input(path: str) -> tuple[int, int]:
    """Both ends of a FIFO: the second keeps it from ending when a client goes."""
    reader = os.open(_split(path)[1], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(reader).st_mode):
            raise InvalidArgument(f"the input {path} is not a FIFO")
        return reader, os.open(f"/proc/self/fd/{reader}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except BaseException:
        os.close(reader)
        raise


def _open_sink(target: str) -> tuple[int, bool]:
    """Where output goes, and whether it is a FIFO (then opened for both, so that it never breaks)."""
    scheme, path = _split(target)
    try:
        if scheme == "file":
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644), False
        if stat.S_ISFIFO(os.stat(path).st_mode):
            return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), True
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), False
    except FileNotFoundError:
        raise NotFound(f"cannot write output to {path}: it is not there") from None
    except OSError as exc:
        failure: ContainerdError = translate(exc, f"open {path} for output")
        raise failure from exc
