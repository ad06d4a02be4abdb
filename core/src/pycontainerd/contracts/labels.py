"""Labels: limits, updates by field path, and their fields in filters. Shared by every store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .errors import InvalidArgument

MAX_LABEL = 4096  # bytes of key and value together, as in the Go containerd


def validate(labels: Mapping[str, str]) -> dict[str, str]:
    """``labels`` as they are stored: without those of an empty value, for an empty value means «no such label».

    :raises InvalidArgument: a key and its value are longer than 4096 bytes together, or a key is empty.
    """
    for key, value in labels.items():
        if not key:
            raise InvalidArgument("a label has an empty key")
        size = len(key.encode()) + len(value.encode())
        if size > MAX_LABEL:
            raise InvalidArgument(
                f"label key and value length ({size} bytes) greater than maximum size ({MAX_LABEL} bytes), "
                f"key: {key[:64]}"
            )
    return {key: value for key, value in labels.items() if value}


def update(old: Mapping[str, str], new: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> dict[str, str]:
    """``old`` with ``new`` applied: all of it, or only ``fieldpaths`` (``labels``, ``labels.KEY``).

    An empty value, or a KEY that ``new`` does not have, deletes the label.

    :raises InvalidArgument: a field path is neither of those, or a label is too long.
    """
    result = dict(old)
    if not fieldpaths:
        result = dict(new)
    for path in fieldpaths:
        if path == "labels":
            result = dict(new)
        elif path.startswith("labels."):
            key = path.removeprefix("labels.")
            result[key] = new.get(key, "")
        else:
            raise InvalidArgument(f"cannot update {path!r}: only labels can change")
    return validate(result)


def field(labels: Mapping[str, str], path: Sequence[str]) -> str | None:
    """The label that a filter's path ``labels.KEY`` names (``path`` is what follows ``labels``)."""
    return labels.get(".".join(path)) if path else None
