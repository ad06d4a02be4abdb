"""What a process is called in ps and top."""

from __future__ import annotations

import contextlib
import ctypes
import os

_COMM = "/proc/self/comm"


def set_title(comm: str, command: str) -> None:
    """Show ``comm`` as the name and ``command`` as the command line, cut to the room there is. Cosmetic: never fails."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fd = os.open(_COMM, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, comm[:15].encode("ascii", "replace"))
        finally:
            os.close(fd)
        start, end = _room()
        room = end - start - 1
        if room > 0:
            ctypes.memmove(start, os.fsencode(command)[:room].ljust(room + 1, b"\0"), room + 1)


def _room() -> tuple[int, int]:
    """Where the command line is in memory: arg_start and arg_end (proc(5))."""
    fd = os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
    finally:
        os.close(fd)
    return int(fields[45]), int(fields[46])
