"""Events from anyone to everyone who asked, in memory.

Publishers never wait. A subscriber that does not keep up is cut off with an error rather than left with a gap that it
cannot see.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence

import attrs

from pycontainerd.contracts.errors import InvalidArgument, ResourceExhausted
from pycontainerd.contracts.events import TOPICS, Envelope
from pycontainerd.contracts.filters import Filter, parse
from pycontainerd.contracts.service import validate_identifier
from pycontainerd.contracts.types import now

BACKLOG = 16384  # events a subscriber may be behind
_TOPIC = re.compile(r"(?:/[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*)+\Z")


class Exchange:
    """`contracts.events.EventBus`; subscriptions live on ``loop``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._subscriptions: set[Subscriber] = set()
        self._lock = threading.Lock()

    def publish(self, namespace: str, event: object, topic: str = "") -> None:
        self.forward(Envelope(now(), namespace, topic or TOPICS[type(event)], event))

    def forward(self, envelope: Envelope) -> None:
        validate_identifier(envelope.namespace, "namespace")
        if not _TOPIC.match(envelope.topic):
            raise InvalidArgument(f"{envelope.topic!r} is not a topic", hint="expected /name/name")
        with self._lock:
            waiting = list(self._subscriptions)
        for subscription in waiting:
            subscription.offer(envelope)

    def subscribe(self, filters: Sequence[str] = ()) -> Subscriber:
        subscription = Subscriber(self, parse(filters), self._loop)
        with self._lock:
            self._subscriptions.add(subscription)
        return subscription

    def drop(self, subscription: Subscriber) -> None:
        with self._lock:
            self._subscriptions.discard(subscription)


class Subscriber:
    """`contracts.events.Subscription`."""

    def __init__(self, exchange: Exchange, wanted: Filter, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange = exchange
        self._filter = wanted
        self._loop = loop
        self._queue: deque[Envelope] = deque()
        self._ready = asyncio.Event()
        self._closed = False
        self._overflow = False

    def offer(self, envelope: Envelope) -> None:
        """From any thread: take ``envelope`` if it is wanted."""
        if self._closed or not self._filter.match(lambda path: _field(envelope, path)):
            return
        if len(self._queue) >= BACKLOG:
            self._overflow = True
        else:
            self._queue.append(envelope)
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:
            self.close()  # the loop has ended, and with it whoever listened

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        try:
            while True:
                while self._queue:
                    yield self._queue.popleft()
                if self._overflow:
                    raise ResourceExhausted(
                        f"this subscriber fell more than {BACKLOG} events behind; events were lost to it",
                        hint="subscribe again and list what there is",
                    )
                if self._closed:
                    return
                self._ready.clear()
                if not self._queue:
                    await self._ready.wait()
        finally:
            self.close()

    def close(self) -> None:
        self._closed = True
        self._exchange.drop(self)
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:
            return  # the loop has ended: nobody waits


def _field(envelope: Envelope, path: Sequence[str]) -> str | None:
    match list(path):
        case ["topic"]:
            return envelope.topic
        case ["namespace"]:
            return envelope.namespace
        case ["event", name] if attrs.has(type(envelope.event)):
            value = getattr(envelope.event, name, None)
            return None if value is None else str(value)
        case ["event", "labels", *rest]:
            labels = getattr(envelope.event, "labels", None)
            return labels.get(".".join(rest)) if labels else None
    return None
