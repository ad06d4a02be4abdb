"""What a shim has to say: to standard error, and once it has a bundle, to the file ``shim.log`` in it."""

from __future__ import annotations

import os

_FILE = "shim.log"  # made when there is something to say

_to_bundle = False
_debug = False


def to_bundle(*, debug: bool = False) -> None:
    """From now on write to the working directory, which for a shim is its bundle."""
    global _to_bundle, _debug
    _to_bundle, _debug = True, debug


def debug(text: str) -> None:
    """Say something that is of interest to few."""
    if _debug:
        write(f"debug: {text}")


def warning(text: str) -> None:
    """Say what is wrong."""
    write(f"warning: {text}")


def failure(text: str, exc: BaseException) -> None:
    """Say what failed that should not have, and where."""
    import traceback

    write(f"error: {text}\n{''.join(traceback.format_exception(exc)).rstrip()}")


def write(line: str) -> None:
    """Append it. Never fails: there would be nobody to tell."""
    try:
        fd = 2
        if _to_bundle:
            fd = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, f"{line}\n".encode(errors="replace"))
        finally:
            if fd != 2:
                os.close(fd)
    except OSError:
        return
