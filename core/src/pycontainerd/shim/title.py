"""What a process is called in ps and top."""

from __future__ import annotations

import contextlib
import ctypes
import os

_COMM = "/proc/self/comm"


def set_title(comm: str, command: str) -> None:
    """Show ``comm`` as the name and ``command`` as the command line, cut to the room there is. Cosmetic: never fails."""
    with contextlib.suppress(OSError), open(_COMM, "w", encoding="ascii", errors="replace") as file:
        file.write(comm[:15])
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end (proc(5))
        room = end - start - 1
        if room <= 0:
            return
        text = os.fsencode(command)[:room]
        ctypes.memmove(start, text.ljust(room + 1, b"\0"), room + 1)
