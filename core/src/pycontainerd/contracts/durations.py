"""Durations as the Go containerd's config and labels write them: ``100ms``, ``1h30m``, ``-1.5s``, ``0``."""

from __future__ import annotations

import re

from .errors import InvalidArgument

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_WHOLE = re.compile(rf"([+-]?)((?:{_PART})+)\Z", re.ASCII)
_PARTS = re.compile(_PART, re.ASCII)
MAX_TEXT = 64  # characters


def parse(text: str) -> float:
    """The seconds that ``text`` says.

    :raises InvalidArgument: it is no duration.
    """
    if text in ("0", "+0", "-0"):
        return 0.0
    found = _WHOLE.match(text) if len(text) <= MAX_TEXT else None
    if not found:
        raise InvalidArgument(f"{text[:MAX_TEXT]!r} is no duration", hint="for example 100ms, 10s, 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(found[2]))
    return -seconds if found[1] == "-" else seconds
