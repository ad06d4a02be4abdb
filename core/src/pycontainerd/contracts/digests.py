"""Digests (OCI image-spec descriptor.md#digests): their syntax, and hashing."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from .errors import InvalidArgument

_HEX_LENGTH = {"sha256": 64, "sha512": 128, "sha384": 96}
_DIGEST = re.compile(r"(sha256|sha384|sha512):([a-f0-9]+)\Z")


def validate(digest: str) -> str:
    """``digest`` if it is ``algorithm:hex`` of a supported algorithm.

    :raises InvalidArgument: it is not; so nothing that was not checked here becomes part of a path.
    """
    found = _DIGEST.match(digest)
    if not found or len(found[2]) != _HEX_LENGTH[found[1]]:
        raise InvalidArgument(f"{digest[:160]!r} is not a digest", hint="expected sha256:<64 hex digits>")
    return digest


def hasher(digest: str = "") -> Any:
    """A new hash object for the algorithm of ``digest`` (sha256 where it is empty)."""
    return hashlib.new(digest.partition(":")[0] or "sha256")


def of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of ``data``."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def text(state: Any) -> str:
    """The digest that a hash object stands at."""
    return f"{state.name}:{state.hexdigest()}"
