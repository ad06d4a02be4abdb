"""Events to the daemon: in order, kept while it is away, and bounded.

When too many wait, the oldest that is not an exit goes first: an exit that is never told leaves a client waiting for ever.
"""

from __future__ import annotations

import time

from pycontainerd.contracts.errors import ContainerdError, InvalidArgument

from . import log, loop
from .messages import FORWARD_REQUEST, pack, stamp
from .rpc import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wire import Message

SERVICE = "containerd.services.events.ttrpc.v1.Events"
_NAMESPACE = "containerd-namespace-ttrpc"
EXIT = "/tasks/exit"
_DEADLINE = 5.0
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0


class Backlog:
    """Envelopes that wait, at most ``limit`` plus as many exits."""

    def __init__(self, limit: int = 2048) -> None:
        self._limit = limit
        self.waiting: list[dict[str, Any]] = []
        self.dropped = 0

    def add(self, envelope: dict[str, Any]) -> None:
        """Append one; drop one if there are too many."""
        self.waiting.append(envelope)
        if len(self.waiting) <= self._limit:
            return
        for place, old in enumerate(self.waiting):
            if old["topic"] != EXIT:
                del self.waiting[place]
                self.dropped += 1
                return
        if len(self.waiting) > 2 * self._limit:
            del self.waiting[0]
            self.dropped += 1

    def done(self, envelope: dict[str, Any]) -> None:
        """It was delivered, or never will be."""
        if self.waiting and self.waiting[0] is envelope:
            del self.waiting[0]


class Publisher:
    """Forwards the events of one namespace to the daemon's ttrpc socket at ``address``."""

    def __init__(self) -> None:
        self.address = ""
        self.namespace = ""
        self._backlog = Backlog()
        self._client: Client | None = None
        self._sender: loop.Task | None = None

    def publish(self, topic: str, message: Message, **event: Any) -> None:
        """Queue an event; the time is now."""
        if self.address:
            envelope = {"timestamp": stamp(time.time_ns()), "namespace": self.namespace, "topic": topic}
            envelope["event"] = pack(message, event)
            self._backlog.add(envelope)
            if self._sender is None or self._sender.done:
                self._sender = loop.spawn(self._send())

    async def _send(self) -> None:
        pause = _FIRST_PAUSE
        while self._backlog.waiting:
            envelope = self._backlog.waiting[0]
            try:
                if self._client is None or not self._client.open:
                    self._client = Client.connect(self.address.removeprefix("unix://"), name="the daemon")
                request = FORWARD_REQUEST.encode({"envelope": envelope})
                metadata = (_NAMESPACE, self.namespace)
                await self._client.call(SERVICE, "Forward", request, timeout=_DEADLINE, metadata=metadata)
                pause = _FIRST_PAUSE
            except InvalidArgument as exc:  # it will not be taken next time either
                log.warning(f"the daemon refused an event {envelope['topic']}: {exc}")
            except ContainerdError as exc:
                log.debug(f"cannot deliver an event {envelope['topic']}, trying again: {exc}")
                await loop.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            self._backlog.done(envelope)

    async def close(self, grace: float = 2.0) -> None:
        """Deliver what waits if that goes within ``grace`` seconds, then hang up."""
        if self._sender is not None and not self._sender.done:
            await loop.wait([self._sender], grace)
        if self._client is not None:
            self._client.close()
