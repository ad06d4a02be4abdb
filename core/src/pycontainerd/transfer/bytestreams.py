"""Bytes over a stream, with the window protocol of containerd's transfer types.

A receiver grants windows (WindowUpdate), a sender sends no more Data than was granted.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Protocol

from google.protobuf.message import DecodeError

from pycontainerd.api.types.transfer import streaming_pb2 as pb
from pycontainerd.contracts.errors import Cancelled, ContainerdError, DataLoss, InvalidArgument, Unavailable
from pycontainerd.contracts.types import AnyValue

WINDOW = 4 << 20  # bytes granted ahead of what has been read
PART = 64 << 10  # bytes in a message; the window that the Go containerd grants
_SLACK = 16 << 20  # bytes above the window; a message in flight may be one of the largest
_UNSENT = 64  # messages that wait for the client to take them
_DATA = "containerd.types.transfer.Data"
_UPDATE = "containerd.types.transfer.WindowUpdate"


class MessageStream(Protocol):
    """What of a stream is used here."""

    async def receive(self) -> AnyValue | None: ...

    def send(self, message: AnyValue) -> None: ...

    async def flushed(self, count: int) -> None: ...


def is_type(message: AnyValue, name: str) -> bool:
    return message.type_url.rsplit("/", 1)[-1] == name


def _parse(message: AnyValue, name: str) -> pb.Data | pb.WindowUpdate:
    kind: type[pb.Data | pb.WindowUpdate] = pb.Data if name == _DATA else pb.WindowUpdate
    if not is_type(message, name):
        raise InvalidArgument(f"the client sent a {message.type_url[:100]!r} where a {name} was due")
    try:
        return kind.FromString(message.value)
    except DecodeError as exc:
        raise InvalidArgument(f"the client sent a broken {name}: {exc}") from None


class Receiver:
    """Bytes of a client, for a worker thread: iterate over it there. `run` carries them over on the event loop."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[bytes | ContainerdError | None] = queue.SimpleQueue()
        self._granted = 0  # bytes that may still come

    async def run(self) -> None:
        """Take what comes until the end or a failure, which the iteration then raises."""
        try:
            self._grant(WINDOW)
            while (message := await self._stream.receive()) is not None:
                data = _parse(message, _DATA)
                assert isinstance(data, pb.Data)
                self._granted -= len(data.data)
                if self._granted < -_SLACK:
                    raise InvalidArgument("the client sends more than it was granted")
                self._queue.put(data.data)
            self._queue.put(None)
        except ContainerdError as exc:
            self._queue.put(exc)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Make the iteration end with `Cancelled`."""
        self._queue.put(Cancelled("the transfer was cancelled"))

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        while (item := self._queue.get()) is not None:
            if isinstance(item, ContainerdError):
                raise item
            if not item:
                continue
            yield item
            taken += len(item)
            if taken >= WINDOW // 4:
                self._loop.call_soon_threadsafe(self._grant, taken)
                taken = 0

    def _grant(self, count: int) -> None:
        self._granted += count
        try:
            self._stream.send(AnyValue(_UPDATE, pb.WindowUpdate(update=count).SerializeToString()))
        except Unavailable:
            pass  # it has sent all and gone; what came is still read


class Sender:
    """Sends bytes as fast as the client takes them. Belongs to the event loop."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._window = 0

    async def send(self, data: bytes) -> None:
        """:raises DataLoss: the client ended the stream before it had everything."""
        view = memoryview(data)
        while view:
            while self._window <= 0:
                message = await self._stream.receive()
                if message is None:
                    raise DataLoss("the client ended the stream before it had everything")
                update = _parse(message, _UPDATE)
                assert isinstance(update, pb.WindowUpdate)
                if update.update < 0:
                    raise InvalidArgument(f"the client sent a window update of {update.update} bytes")
                self._window += update.update
            part = view[: min(PART, self._window)]
            self._stream.send(AnyValue(_DATA, pb.Data(data=bytes(part)).SerializeToString()))
            self._window -= len(part)
            view = view[len(part) :]
            await self._stream.flushed(_UNSENT)  # a client that grants more than it reads must not fill our memory
