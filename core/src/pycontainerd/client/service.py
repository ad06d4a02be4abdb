"""What the parts of the client share."""

from __future__ import annotations

from collections.abc import Callable

from .connection import Stub

MakeStub = Callable[[str], Stub]


class Service:
    """A part of the client, for the service whose full protobuf name is ``SERVICE``."""

    SERVICE = ""

    def __init__(self, make: MakeStub) -> None:
        self._make = make
        self._stub = make(self.SERVICE)
