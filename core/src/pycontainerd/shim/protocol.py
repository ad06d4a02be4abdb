"""What the daemon and the zygote agree on: fields joined by NULs, a kind and a number first; answers repeat the number.

To START the answer is the shim's pid, to LOAD "0"; or an empty field, then code, message and hint of an error.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

    from pycontainerd.contracts.shim import ShimStart

MAX_MESSAGE = 1 << 16
TITLE_ROOM = 1024  # bytes of the command line that a shim may overwrite with its own

START = "start"
LOAD = "load"
_DEBUG = "debug"


class Order:
    """A `ShimStart` as the zygote has it, which does without what it takes to import that one."""

    __slots__ = ("bundle", "debug", "driver", "id", "namespace", "publish_address", "socket")

    def __init__(
        self,
        namespace: str,
        id: str,  # noqa: A002
        bundle: str,
        publish_address: str,
        socket: str,
        driver: str,
        debug: str = "",
    ) -> None:
        self.namespace = namespace
        self.id = id
        self.bundle = bundle
        self.publish_address = publish_address
        self.socket = socket
        self.driver = driver
        self.debug = bool(debug)


def encode(*fields: str) -> bytes:
    """A message."""
    text = "\0".join(fields)
    if text.count("\0") >= len(fields):  # there is one in a field
        text = "\0".join(field.replace("\0", "") for field in fields)
    return text.encode("utf-8", "surrogateescape")


def send(control: socket, *fields: str) -> None:
    """Send a message, if there is still somebody to read it."""
    try:
        control.send(encode(*fields))
    except OSError:
        return


def decode(message: bytes) -> list[str]:
    """Its fields."""
    return message.decode("utf-8", "surrogateescape").split("\0")


def fields(request: ShimStart) -> list[str]:
    """A request as the fields of an `Order`."""
    texts = [request.namespace, request.id, request.bundle, request.publish_address, request.socket, request.driver]
    return [*texts, _DEBUG if request.debug else ""]
