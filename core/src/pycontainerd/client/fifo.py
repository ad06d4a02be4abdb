"""A process's I/O over FIFOs, as containerd's clients do it: made in a directory of their own, opened by both sides.

Bytes are moved by threads between FIFOs and file descriptors: opening a FIFO blocks until the other side has opened
it, and neither terminals nor files can be waited for on an event loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable

import attrs

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.contracts.runtime import Stdio

DEFAULT_DIRECTORY = "/run/containerd/fifo"
_CHUNK = 64 << 10


@attrs.frozen
class Descriptors:
    """Where a process's streams go here; None leaves one out. A terminal has no stderr of its own."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    terminal: bool = False


def make_fifos(id: str, wanted: Descriptors, directory: str = "") -> tuple[Stdio, str]:  # noqa: A002
    """Make the FIFOs of a process in a new directory; returns their paths and the directory."""
    base = directory or DEFAULT_DIRECTORY
    os.makedirs(base, mode=0o700, exist_ok=True)
    made = tempfile.mkdtemp(dir=base, prefix="")
    paths: dict[str, str] = {}
    for name in ("stdin", "stdout", "stderr"):
        if getattr(wanted, name) is None or (name == "stderr" and wanted.terminal):
            continue
        paths[name] = os.path.join(made, f"{id}-{name}")
        os.mkfifo(paths[name], 0o700)
    return Stdio(**paths, terminal=wanted.terminal), made


def remove_fifos(stdio: Stdio) -> None:
    """Remove the FIFOs of a process that is gone, with their directory, where `make_fifos` puts them by default."""
    for path in (stdio.stdin, stdio.stdout, stdio.stderr):
        directory = os.path.dirname(path)
        if os.path.dirname(directory) != DEFAULT_DIRECTORY:
            continue
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISFIFO(os.lstat(path).st_mode):
                os.unlink(path)
        with contextlib.suppress(OSError):  # not empty yet, or gone
            os.rmdir(directory)


class Pump:
    """Moves bytes between the FIFOs of a process and descriptors here until `close`.

    ``on_stdin_end`` is called (from a thread) when the input here has ended and everything of it has been written.
    """

    def __init__(
        self, stdio: Stdio, here: Descriptors, *, directory: str = "", on_stdin_end: Callable[[], None] | None = None
    ) -> None:
        self.stdio = stdio
        self._directory = directory
        self._on_stdin_end = on_stdin_end
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self._outputs: list[threading.Thread] = []
        self._input: threading.Thread | None = None
        self._opening: dict[str, int] = {}
        for path, fd in ((stdio.stdout, here.stdout), (stdio.stderr, here.stderr)):
            if path and fd is not None:
                self._outputs.append(self._thread(self._copy_out, path, fd))
        if stdio.stdin and here.stdin is not None:
            self._input = self._thread(self._copy_in, stdio.stdin, here.stdin)

    def _thread(self, target: Callable[[str, int], None], path: str, fd: int) -> threading.Thread:
        self._opening[path] = os.O_WRONLY if target == self._copy_out else os.O_RDONLY
        thread = threading.Thread(target=target, args=(path, fd), daemon=True, name=f"pump {os.path.basename(path)}")
        thread.start()
        return thread

    def _open(self, path: str, flags: int) -> int | None:
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except FileNotFoundError:  # closed before the other side came
            return None
        finally:
            self._opening.pop(path, None)

    def _copy_out(self, path: str, fd: int) -> None:
        fifo = self._open(path, os.O_RDONLY)
        if fifo is None:
            return
        with contextlib.closing(os.fdopen(fifo, "rb", buffering=0)):
            broken = False
            while data := os.read(fifo, _CHUNK):
                if not broken:  # nobody reads us any more: the container must not notice
                    broken = not _write_all(fd, data)

    def _copy_in(self, path: str, fd: int) -> None:
        fifo = self._open(path, os.O_WRONLY)
        if fifo is None:
            return
        with contextlib.closing(os.fdopen(fifo, "wb", buffering=0)):
            while self._readable(fd):
                data = os.read(fd, _CHUNK)
                if not data:
                    break
                if not _write_all(fifo, data):
                    return
            else:
                return
        if self._on_stdin_end:
            self._on_stdin_end()

    def _readable(self, fd: int) -> bool:
        """Wait for input; False when `close` came first."""
        poller = select.poll()
        poller.register(fd, select.POLLIN | select.POLLHUP)
        poller.register(self._wake_read, select.POLLIN | select.POLLHUP)
        ready = dict(poller.poll())
        return self._wake_read not in ready

    def wait_output(self, timeout: float | None = None) -> bool:
        """Wait until all output has been read to its end (blocks). False when ``timeout`` seconds were not enough."""
        for thread in self._outputs:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._outputs)

    def release(self) -> None:
        """Stop waiting for the other side to open its ends: there will be none."""
        for path, flags in list(self._opening.items()):
            with contextlib.suppress(OSError):
                os.close(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))

    def close(self) -> None:
        """Stop the input and, once the output has ended, remove the FIFOs."""
        self.release()
        if self._wake_write >= 0:
            os.close(self._wake_write)
            self._wake_write = -1
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)


def _write_all(fd: int, data: bytes) -> bool:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except BrokenPipeError:
            return False
    return True


def attach(stdio: Stdio, here: Descriptors, on_stdin_end: Callable[[], None] | None = None) -> Pump:
    """Connect to the FIFOs of a process that is running already.

    :raises FailedPrecondition: it has none.
    """
    if not any((stdio.stdin, stdio.stdout, stdio.stderr)):
        raise FailedPrecondition("the process has no FIFOs to attach to", hint="it was started with --null-io")
    for path in (stdio.stdin, stdio.stdout, stdio.stderr):
        if path and not os.path.exists(path):
            raise FailedPrecondition(f"cannot attach: {path} is not there", hint="is its output a log file?")
    return Pump(stdio, here, on_stdin_end=on_stdin_end)
