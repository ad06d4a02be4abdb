"""A running shim: a connection to it and the calls it answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs
from google.protobuf.message import Message

from pycontainerd.contracts.errors import ContainerdError, NotImplemented
from pycontainerd.ttrpc.client import Client
from pycontainerd.ttrpc.dispatch import TTRPC_NAMESPACE_HEADER

from .bundle import Bundle
from .endpoint import Endpoint

M = TypeVar("M", bound=Message)

DEADLINES: Mapping[str, float | None] = {
    "Create": 120.0,
    "Start": 120.0,
    "Delete": 60.0,
    "State": 2.0,
    "Shutdown": 3.0,
    "Checkpoint": 600.0,
    "Wait": None,
}
DEADLINE = 30.0  # seconds, for the other calls
CONNECT_DEADLINE = 5.0


class Shim:
    """A connection to the shim of ``bundle``."""

    def __init__(self, bundle: Bundle, endpoint: Endpoint, client: Client, pid: int = 0) -> None:
        self.bundle = bundle
        self.endpoint = endpoint
        self.pid = pid
        self._client = client
        self._metadata = {TTRPC_NAMESPACE_HEADER: bundle.namespace}

    @classmethod
    async def connect(
        cls,
        bundle: Bundle,
        endpoint: Endpoint,
        on_close: Callable[[], None],
        *,
        pid: int = 0,
        timeout: float = CONNECT_DEADLINE,
    ) -> Shim:
        """Connect to a shim that listens; ``on_close`` is called when the connection has ended.

        :raises Unavailable: nobody listens there (any more).
        """
        name = f"the shim of task {bundle.id!r} in namespace {bundle.namespace!r}"
        client = await Client.connect(endpoint.path, timeout=timeout, name=name, on_close=on_close)
        return cls(bundle, endpoint, client, pid)

    @property
    def closed(self) -> bool:
        return self._client.closed

    async def call(self, method: str, request: Message, response: type[M], timeout: float | None = None) -> M:
        """One call of the task service, with the deadline of `DEADLINES` unless ``timeout`` is given.

        A shim that announced version 3 and does not know it is spoken to in version 2 from then on: the messages are
        the same.
        """
        deadline = DEADLINES.get(method, DEADLINE) if timeout is None else timeout
        try:
            return await self._call(method, request, response, deadline)
        except NotImplemented:
            if self.endpoint.version <= 2 or method not in ("Create", "Connect"):
                raise
            older = attrs.evolve(self.endpoint, version=2)
            found = await self._client.call(
                older.service, method, request, response, timeout=deadline, metadata=self._metadata
            )
            self.endpoint = older
            return found

    async def _call(self, method: str, request: Message, response: type[M], deadline: float | None) -> M:
        return await self._client.call(
            self.endpoint.service, method, request, response, timeout=deadline, metadata=self._metadata
        )

    async def shut_down(self, *, shared: bool = False) -> bool:
        """Ask it to end and wait for that; whether it did. A shim that other tasks share stays."""
        from google.protobuf.empty_pb2 import Empty

        from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb

        deadline = DEADLINES["Shutdown"]
        try:
            with contextlib.suppress(ContainerdError):  # it may be gone before it answers
                await self.call("Shutdown", pb.ShutdownRequest(id=self.bundle.id), Empty)
            if not shared:
                async with asyncio.timeout(deadline):
                    await self._client.wait_closed()
        except TimeoutError:
            return False
        finally:
            self._client.close()
        return True

    def close(self) -> None:
        """End the connection, not the shim."""
        self._client.close()
