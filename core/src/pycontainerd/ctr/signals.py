"""Signals by name or number."""

from __future__ import annotations

import signal

from pycontainerd.contracts.errors import InvalidArgument


def parse_signal(text: str) -> int:
    """``SIGTERM``, ``term`` or ``15``; also ``RTMIN+3``.

    :raises InvalidArgument: it is no signal.
    """
    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    found = getattr(signal, f"SIG{name}", None)
    if not isinstance(found, signal.Signals) or (plus and not offset.isdigit()):
        raise InvalidArgument(f"{text!r} is no signal", hint="for example SIGTERM, KILL, 15")
    return int(found) + int(offset or 0)
