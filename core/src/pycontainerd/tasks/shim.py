"""A running shim: a connection to it and the calls it answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs
from google.protobuf.message import Message

from pycontainerd.contracts.breaker import Breaker, Ticket
from pycontainerd.contracts.errors import ContainerdError, DeadlineExceeded, NotImplemented, Unavailable
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
_LONGEST_PAUSE = 10.0  # seconds until a shim that did not answer is asked again
_ALWAYS = frozenset({"Connect", "Delete", "Kill", "Shutdown", "Wait"})
_NO_ROUND = -1


def _name(bundle: Bundle) -> str:
    return f"the shim of task {bundle.id!r} in namespace {bundle.namespace!r}"


class Shim:
    """A connection to the shim of ``bundle``."""

    def __init__(self, bundle: Bundle, endpoint: Endpoint, client: Client, pid: int = 0) -> None:
        self.bundle = bundle
        self.endpoint = endpoint
        self.pid = pid
        self.name = _name(bundle)
        self._client = client
        self._breaker = Breaker(longest=_LONGEST_PAUSE)
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
        client = await Client.connect(endpoint.path, timeout=timeout, name=_name(bundle), on_close=on_close)
        return cls(bundle, endpoint, client, pid)

    @property
    def closed(self) -> bool:
        return self._client.closed

    async def call(self, method: str, request: Message, response: type[M], timeout: float | None = None) -> M:
        """One call of the task service, with the deadline of `DEADLINES` unless ``timeout`` is given.

        :raises DeadlineExceeded: it did not answer in time.
        :raises Unavailable: it did not answer several times before; then only what ends the task is tried.

        A shim that announced version 3 and does not know it is spoken to in version 2 from then on: the messages are
        the same.
        """
        deadline = DEADLINES.get(method, DEADLINE) if timeout is None else timeout
        ticket = self._admit(method)
        try:
            found = await self._versioned(method, request, response, deadline)
        except DeadlineExceeded as exc:
            self._breaker.failed(ticket, time.monotonic(), str(exc))
            raise
        except ContainerdError:
            self._breaker.succeeded(ticket)  # an error is an answer
            raise
        except asyncio.CancelledError:
            self._breaker.abandoned(ticket)
            raise
        self._breaker.succeeded(ticket)
        return found

    def _admit(self, method: str) -> Ticket:
        """Leave to call. A shim that does not answer is not asked again and again, but it may always be told to end."""
        now = time.monotonic()
        ticket = self._breaker.admit(now)
        if ticket is not None:
            return ticket
        if method in _ALWAYS:
            return Ticket(_NO_ROUND)
        raise Unavailable(
            f"{self.name} does not answer since {now - self._breaker.since:.0f} s: {self._breaker.error}",
            hint=f"it is asked again in {max(self._breaker.retry_at - now, 0):.0f} s; the task may still be killed",
        )

    async def _versioned(self, method: str, request: Message, response: type[M], deadline: float | None) -> M:
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
