"""What a process is called in ps and top."""

from __future__ import annotations

import ctypes
import os

from . import files


def set_title(comm: str, command: str) -> None:
    """Show ``comm`` as the name and ``command`` as the command line, cut to the room there is. Cosmetic: never fails."""
    try:
        files.write("/proc/self/comm", comm[:15])
        # Where the command line is in memory: arg_start and arg_end (proc(5)).
        fields = files.read("/proc/self/stat", 4096).rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        room = end - start - 1
        if room > 0:
            ctypes.memmove(start, os.fsencode(command)[:room].ljust(room + 1, b"\0"), room + 1)
    except (OSError, ValueError, IndexError):
        return
