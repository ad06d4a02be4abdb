"""Events to the daemon: in order, kept while it is away, and bounded.

When too many wait, the oldest that is not an exit goes first: an exit that is never told leaves a client waiting for ever.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pycontainerd.api.anys import pack
from pycontainerd.api.events import task_pb2 as events
from pycontainerd.api.services.ttrpc.events.v1.events_pb2 import ForwardRequest
from pycontainerd.api.types.event_pb2 import Envelope
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument
from pycontainerd.ttrpc.dispatch import TTRPC_NAMESPACE_HEADER

from . import loop
from .rpc import Client

log = logging.getLogger("containerd.shim")

SERVICE = "containerd.services.events.ttrpc.v1.Events"
TOPICS: dict[type[Message], str] = {
    events.TaskCreate: "/tasks/create",
    events.TaskStart: "/tasks/start",
    events.TaskExit: "/tasks/exit",
    events.TaskDelete: "/tasks/delete",
    events.TaskExecAdded: "/tasks/exec-added",
    events.TaskExecStarted: "/tasks/exec-started",
    events.TaskOOM: "/tasks/oom",
    events.TaskPaused: "/tasks/paused",
    events.TaskResumed: "/tasks/resumed",
}
_EXIT = TOPICS[events.TaskExit]
_DEADLINE = 5.0
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0


class Backlog:
    """Envelopes that wait, at most ``limit`` plus as many exits."""

    def __init__(self, limit: int = 2048) -> None:
        self._limit = limit
        self._waiting: deque[Envelope] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, envelope: Envelope) -> None:
        """Append one; drop one if there are too many."""
        self._waiting.append(envelope)
        if len(self._waiting) <= self._limit:
            return
        for place, old in enumerate(self._waiting):
            if old.topic != _EXIT:
                del self._waiting[place]
                self.dropped += 1
                return
        if len(self._waiting) > 2 * self._limit:
            self._waiting.popleft()
            self.dropped += 1

    def first(self) -> Envelope:
        return self._waiting[0]

    def done(self, envelope: Envelope) -> None:
        """It was delivered, or never will be."""
        if self._waiting and self._waiting[0] is envelope:
            self._waiting.popleft()


class Publisher:
    """Forwards the events of one namespace to the daemon's ttrpc socket at ``address``."""

    def __init__(self, address: str = "", namespace: str = "") -> None:
        self.assign(address, namespace)
        self._backlog = Backlog()
        self._client: Client | None = None
        self._sender: loop.Task[None] | None = None

    def assign(self, address: str, namespace: str) -> None:
        """Whose events they are, and who gets them."""
        self._path = address.removeprefix("unix://")
        self._namespace = namespace

    def publish(self, event: Message) -> None:
        """Queue an event; the time is now."""
        stamp = Timestamp()
        stamp.FromNanoseconds(time.time_ns())
        envelope = Envelope(timestamp=stamp, namespace=self._namespace, topic=TOPICS[type(event)], event=pack(event))
        if not self._path:
            return
        self._backlog.add(envelope)
        if self._sender is None or self._sender.done():
            self._sender = loop.spawn(self._send())

    async def _send(self) -> None:
        pause = _FIRST_PAUSE
        while len(self._backlog):
            envelope = self._backlog.first()
            try:
                await self._forward(envelope)
                pause = _FIRST_PAUSE
            except InvalidArgument as exc:  # it will not be taken next time either
                log.warning(f"the daemon refused an event {envelope.topic}: {exc}")
            except ContainerdError as exc:
                log.debug(f"cannot deliver an event {envelope.topic}, trying again: {exc}")
                await loop.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            self._backlog.done(envelope)

    async def _forward(self, envelope: Envelope) -> None:
        if self._client is None or self._client.closed:
            self._client = Client.connect(self._path, name="the daemon")
        await self._client.call(
            SERVICE,
            "Forward",
            ForwardRequest(envelope=envelope),
            Empty,
            timeout=_DEADLINE,
            metadata={TTRPC_NAMESPACE_HEADER: self._namespace},
        )

    async def close(self, grace: float = 2.0) -> None:
        """Deliver what waits if that goes within ``grace`` seconds, then hang up."""
        if self._sender is not None and not self._sender.done():
            await loop.wait([self._sender], grace)
        if self._client is not None:
            self._client.close()
