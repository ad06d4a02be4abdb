"""The FIFO ``log`` in a bundle, where shims of others write their log."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

_CHUNK = 1 << 16
_LONGEST = 1 << 14  # bytes of a line that are passed on


class LogPipe:
    """Passes each line that is written to the FIFO at ``path`` to ``write``. Use from the event loop."""

    def __init__(self, path: str, write: Callable[[str], None]) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o700)
        # Open for writing too: then it never ends when a writer goes, and the shim's open never waits.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._write = write
        self._rest = b""
        asyncio.get_running_loop().add_reader(self._fd, self._ready)

    def _ready(self) -> None:
        with contextlib.suppress(BlockingIOError):
            *lines, rest = (self._rest + os.read(self._fd, _CHUNK)).split(b"\n")
            self._rest = rest[:_LONGEST]
            for line in lines:
                if text := line[:_LONGEST].decode(errors="replace").strip():
                    self._write(text)

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
