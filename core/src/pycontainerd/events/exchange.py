"""Events from anyone to everyone who asked, in memory.

Publishers never wait, and a subscriber sees every event it asked for, in the one order in which they were published. A
subscriber that falls too far behind is cut off: it gets what came before the gap, then an error, and nothing after.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from pycontainerd.contracts.errors import InvalidArgument, ResourceExhausted
from pycontainerd.contracts.events import TOPICS, Envelope
from pycontainerd.contracts.filters import Filter, parse
from pycontainerd.contracts.service import validate_identifier
from pycontainerd.contracts.types import AnyValue, now

from .taps import Taps

BACKLOG = 16384  # events a subscriber may be behind
MAX_TOPIC = 1024  # characters

Decode = Callable[[AnyValue], object | None]


def _opaque(_value: AnyValue) -> None:
    return None


class Exchange:
    """`contracts.events.EventBus`; subscriptions are iterated on ``loop``.

    ``decode`` opens an encoded event for filters on its fields (None: a type it does not know). ``taps`` get every event.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        decode: Decode = _opaque,
        *,
        backlog: int = BACKLOG,
        taps: Taps | None = None,
    ) -> None:
        self._loop = loop
        self._taps = taps
        self._decode = decode
        self._backlog = backlog
        self._subscribers: set[Subscriber] = set()
        self._screens: list[Callable[[Envelope], bool]] = []
        self._lock = threading.Lock()

    def publish(self, namespace: str, event: object, topic: str = "") -> None:
        topic = topic or TOPICS.get(type(event), "")
        if not topic:
            raise InvalidArgument(f"cannot publish a {type(event).__name__} without a topic")
        self.forward(Envelope(now(), namespace, topic, event))

    def forward(self, envelope: Envelope) -> None:
        validate_identifier(envelope.namespace, "an event's namespace")
        validate_topic(envelope.topic)
        if not all(admit(envelope) for admit in self._screens):
            return
        fields = _Fields(envelope, self._decode)
        with self._lock:
            # Under the lock, so that all subscribers see one order; nothing in here waits.
            if self._taps is not None:
                self._taps.offer(envelope)
            self._subscribers -= {one for one in self._subscribers if not one.offer(envelope, fields)}

    def close(self) -> None:
        """Let go of the taps."""
        if self._taps is not None:
            self._taps.close()

    def screen(self, admit: Callable[[Envelope], bool]) -> None:
        self._screens.append(admit)

    def subscribe(self, filters: Sequence[str] = ()) -> Subscriber:
        subscriber = Subscriber(parse(filters), self._loop, self._backlog, self._lock)
        with self._lock:
            self._subscribers.add(subscriber)
        return subscriber


class Subscriber:
    """`contracts.events.Subscription`. One task iterates it; whatever is shared with publishers is under ``lock``."""

    def __init__(self, wanted: Filter, loop: asyncio.AbstractEventLoop, backlog: int, lock: threading.Lock) -> None:
        self._wanted = wanted
        self._loop = loop
        self._backlog = backlog
        self._lock = lock
        self._queue: deque[Envelope] = deque()
        self._ready = asyncio.Event()
        self._woken = False  # a wake-up is on its way: one is enough for any number of events
        self._closed = False
        self._overflowed = False

    def offer(self, envelope: Envelope, fields: _Fields) -> bool:
        """With the lock held: take ``envelope`` if it is wanted. False: never offer anything again."""
        if self._closed or self._overflowed:
            return False
        if not self._wanted.match(fields):
            return True
        if len(self._queue) < self._backlog:
            self._queue.append(envelope)
        else:
            self._overflowed = True
        self._wake()
        return not (self._closed or self._overflowed)

    def __aiter__(self) -> Subscriber:
        return self

    async def __anext__(self) -> Envelope:
        while True:
            with self._lock:
                if self._closed:
                    raise StopAsyncIteration
                if self._queue:
                    return self._queue.popleft()
                if self._overflowed:
                    break
                self._woken = False
                self._ready.clear()
            await self._ready.wait()
        raise ResourceExhausted(
            f"this subscriber was more than {self._backlog} events behind; what came after them is lost to it",
            hint="subscribe again, then list what there is",
        )

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._queue.clear()
            self._wake()

    def _wake(self) -> None:
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:
            self._closed = True  # the loop has ended, and with it whoever listened


class _Fields:
    """The fields of one envelope as filters name them; an encoded event is decoded once, and only for who asks."""

    def __init__(self, envelope: Envelope, decode: Decode) -> None:
        self._envelope = envelope
        self._decode = decode
        self._event: object | None = None

    def __call__(self, path: Sequence[str]) -> str | None:
        match list(path):
            case ["topic"]:
                return self._envelope.topic
            case ["namespace"]:
                return self._envelope.namespace
            case ["event", *rest]:
                return _field(self._opened(), rest)
        return None

    def _opened(self) -> object | None:
        if self._event is None:
            event = self._envelope.event
            self._event = self._decode(event) if isinstance(event, AnyValue) else event
        return self._event


def _field(value: object, path: Sequence[str]) -> str | None:
    """The field of a record or message that ``path`` leads to, as text; empty ones count as missing, as in Go."""
    if isinstance(value, Mapping):
        return value.get(".".join(path))
    if not path:
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, (str, int)) and value != "" else None
    # Fields are lower case in every .proto file; what else an object has (methods, dunders) is not for filters.
    name = path[0]
    if value is None or not name.islower() or name.startswith("_"):
        return None
    return _field(getattr(value, name, None), path[1:])


def validate_topic(topic: str) -> str:
    """``topic`` if it is one: ``/`` and an identifier, once or more.

    :raises InvalidArgument: it is not; says where.
    """
    if not topic.startswith("/"):
        raise InvalidArgument(f"topic {topic[:80]!r} must start with '/'")
    if len(topic) > MAX_TOPIC:
        raise InvalidArgument(f"topic {topic[:80]!r}… has {len(topic)} characters, the limit is {MAX_TOPIC}")
    for component in topic[1:].split("/"):
        validate_identifier(component, f"a component of topic {topic!r}")
    return topic
