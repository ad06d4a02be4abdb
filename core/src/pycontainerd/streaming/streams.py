"""Open streams by namespace and name. Everything here belongs to the event loop.

A stream carries messages (`AnyValue`) both ways. Each direction is a queue: what the client sends waits until someone
receives it (the client is held back when `BACKLOG` messages wait), what is sent waits until the client takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pycontainerd.contracts.errors import (
    AlreadyExists,
    Cancelled,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from pycontainerd.contracts.types import AnyValue

BACKLOG = 64  # messages from the client that nobody has received yet
MAX_OUTGOING = 4096  # messages that the client does not take
MAX_STREAMS = 4096  # open at once, in all namespaces
MAX_NAME = 256


class Stream:
    """One open stream, from the daemon's side."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._incoming: asyncio.Queue[AnyValue | BaseException | None] = asyncio.Queue(BACKLOG)
        self._outgoing: asyncio.Queue[AnyValue | None] = asyncio.Queue()
        self._closed = False
        self._gone = False
        self._drained = asyncio.Event()
        self._taken = asyncio.Event()

    async def receive(self) -> AnyValue | None:
        """The next message of the client; None at the end.

        :raises Cancelled: the client went away without ending the stream.
        """
        if self._gone and self._incoming.empty():
            raise Cancelled(f"stream {self.name}: the client went away")
        item = await self._incoming.get()
        if item is None or isinstance(item, BaseException):
            self._again(item)  # the end stays the end for whoever asks next
        if isinstance(item, BaseException):
            raise item
        return item

    def send(self, message: AnyValue) -> None:
        """Have ``message`` sent.

        :raises Unavailable: the client is gone, or the stream closed.
        :raises ResourceExhausted: the client takes nothing any more.
        """
        if self._closed or self._gone:
            raise Unavailable(f"stream {self.name} is closed")
        if self._outgoing.qsize() >= MAX_OUTGOING:
            raise ResourceExhausted(f"stream {self.name}: the client has left {MAX_OUTGOING} messages unread")
        self._outgoing.put_nowait(message)

    @property
    def backlog(self) -> int:
        """How many messages the client has not taken yet."""
        return self._outgoing.qsize()

    async def flushed(self, count: int) -> None:
        """Wait until the client has left at most ``count`` messages.

        :raises Unavailable: it is gone.
        """
        while self._outgoing.qsize() > count:
            if self._gone:
                raise Unavailable(f"stream {self.name}: the client went away")
            self._taken.clear()
            await self._taken.wait()

    def close(self) -> None:
        """Send nothing more; the call ends when the client has taken what was sent. May be called again."""
        if not self._closed:
            self._closed = True
            self._outgoing.put_nowait(None)

    async def finish(self, timeout: float = 5.0) -> None:
        """Close it and wait until everything is on its way to the client."""
        self.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained.wait(), timeout)

    # What follows is for the edge that owns the call.

    async def feed(self, message: AnyValue | None) -> None:
        """A message of the client; None: it ended its side."""
        await self._incoming.put(message)

    async def outgoing(self) -> AsyncIterator[AnyValue]:
        """What is to be sent, until the stream is closed."""
        while (message := await self._outgoing.get()) is not None:
            self._taken.set()
            yield message

    def lost(self) -> None:
        """The call is over, one way or the other."""
        self._gone = True
        self._drained.set()
        self._taken.set()
        self._again(Cancelled(f"stream {self.name}: the client went away"))

    def _again(self, item: BaseException | None) -> None:
        with contextlib.suppress(asyncio.QueueFull):  # then what is queued ends in `_gone`
            self._incoming.put_nowait(item)


class StreamManager:
    """``io.containerd.streaming.v1.manager``: finds a stream by the name that the client gave it."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], Stream] = {}

    def register(self, namespace: str, name: str) -> Stream:
        """A new stream.

        :raises AlreadyExists: the name is taken.
        :raises InvalidArgument: it is empty or too long.
        """
        if not 0 < len(name) <= MAX_NAME:
            raise InvalidArgument(f"a stream needs an id of 1 to {MAX_NAME} characters, this has {len(name)}")
        if (namespace, name) in self._streams:
            raise AlreadyExists(f"stream {name!r}: already exists")
        if len(self._streams) >= MAX_STREAMS:
            raise ResourceExhausted(f"cannot open stream {name!r}: {MAX_STREAMS} are open already")
        stream = self._streams[namespace, name] = Stream(name)
        return stream

    def get(self, namespace: str, name: str) -> Stream:
        """:raises NotFound: no such stream is open."""
        try:
            return self._streams[namespace, name]
        except KeyError:
            raise NotFound(f"stream {name!r}: not found") from None

    def unregister(self, namespace: str, stream: Stream) -> None:
        """Forget it, and wake whoever still waits for the client."""
        if self._streams.get((namespace, stream.name)) is stream:
            del self._streams[namespace, stream.name]
        stream.lost()
