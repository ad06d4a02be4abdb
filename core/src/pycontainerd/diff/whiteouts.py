"""What names in a layer say about files below (OCI image-spec layer.md#whiteouts). Pure."""

from __future__ import annotations

from pycontainerd.contracts.errors import InvalidArgument

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_META = b".wh..wh."


def hidden(name: bytes) -> bytes | None:
    """What the whiteout ``name`` hides in its directory: "" for everything (opaque), None for nothing.

    :raises InvalidArgument: it is no whiteout of anything that could be in a directory.
    """
    if name == OPAQUE:
        return b""
    if name.startswith(_META):
        return None  # bookkeeping of aufs, which has no meaning in a layer
    target = name.removeprefix(WHITEOUT)
    if target in (b"", b".", b".."):
        raise InvalidArgument(f"{name.decode(errors='replace')!r} is not a whiteout of anything")
    return target
