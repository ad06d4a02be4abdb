"""The log that runc-like runtimes write as JSON lines: where their last error is."""

from __future__ import annotations

import os

_LIMIT = 1 << 18
_LONGEST = 4000


def last_error(text: str) -> str:
    """The message of the last line of level error (or worse), empty if there is none."""
    import json

    found = ""
    for line in text.splitlines():
        try:
            record = json.loads(line)
            if record["level"] in ("error", "fatal", "panic"):
                found = str(record["msg"]).strip()
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return found[-_LONGEST:]


def size(path: str) -> int:
    """Where the log of what happens from now on will begin."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def read_error(path: str, begin: int = 0) -> str:
    """The last error in the file at ``path`` after byte ``begin``."""
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            return last_error(file.read(_LIMIT).decode(errors="replace"))
    except OSError:
        return ""
