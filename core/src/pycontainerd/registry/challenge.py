"""The ``WWW-Authenticate`` header (RFC 7235 section 4.1; distribution's token specification). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import attrs

from pycontainerd.contracts.types import EMPTY

MAX_HEADER = 16 << 10  # characters looked at

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|\s*,|\s*\Z)")
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}|[^\s,"]+))\s*(?:,|\Z)', re.DOTALL)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*\s*(?:,|\Z)")


@attrs.frozen
class Challenge:
    """One way to log in: the ``scheme`` in lower case, and its parameters (names in lower case)."""

    scheme: str
    parameters: Mapping[str, str] = EMPTY


def parse(headers: Iterable[str]) -> list[Challenge]:
    """The challenges, those first that say more: bearer, then basic, then others. What is malformed is passed over."""
    found = [challenge for header in headers for challenge in _challenges(header[:MAX_HEADER])]
    order = {"bearer": 0, "basic": 1}
    return sorted(found, key=lambda challenge: order.get(challenge.scheme, 2))


def _challenges(header: str) -> Iterator[Challenge]:
    position = 0
    while found := _SCHEME.match(header, position):
        scheme, position = found[1].lower(), found.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2], flags=re.DOTALL)
            parameters.setdefault(parameter[1].lower(), value)
            position = parameter.end()
        if not parameters and (opaque := _TOKEN68.match(header, position)) and not _SCHEME.match(header, position):
            position = opaque.end()
        yield Challenge(scheme, parameters)
