"""What the daemon and the zygote agree on: fields joined by NULs, a kind and a number first; answers repeat the number.

To START the answer is the shim's pid, to LOAD "0"; or an empty field, then code, message and hint of an error.
"""

from __future__ import annotations

from collections.abc import Sequence

from pycontainerd.contracts.shim import ShimStart

MAX_MESSAGE = 1 << 16
TITLE_ROOM = 1024  # bytes of the command line that a shim may overwrite with its own

START = "start"
LOAD = "load"
_DEBUG = "debug"


def encode(*fields: str) -> bytes:
    """A message."""
    return "\0".join(field.replace("\0", "") for field in fields).encode("utf-8", "surrogateescape")


def decode(message: bytes) -> list[str]:
    """Its fields."""
    return message.decode("utf-8", "surrogateescape").split("\0")


def fields(request: ShimStart) -> list[str]:
    """A request as fields."""
    texts = [request.namespace, request.id, request.bundle, request.publish_address, request.socket, request.driver]
    return [*texts, _DEBUG if request.debug else ""]


def request(fields: Sequence[str]) -> ShimStart:
    """The request that `fields` made them of."""
    namespace, id, bundle, publish_address, socket, driver, debug = fields  # noqa: A001
    return ShimStart(namespace, id, bundle, publish_address, socket, driver, debug == _DEBUG)
