"""Byte and message streams beside a transfer, with the window protocol of containerd's streaming service.

A receiver of bytes announces with WindowUpdate how much it takes; the sender keeps within that.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterable, AsyncIterator

from google.protobuf.any_pb2 import Any as AnyMessage

from pycontainerd.api import anys
from pycontainerd.api.services.streaming.v1 import streaming_pb2
from pycontainerd.api.types.transfer import streaming_pb2 as data_pb2
from pycontainerd.contracts.errors import ContainerdError, DataLoss, InvalidArgument

from .connection import Duplex
from .service import Service

# Bytes to take before the next announcement. Large, and announced anew only when all of it is used: an announcement
# to a server that has sent everything and ended makes grpc drop what we have not read yet. HTTP/2 holds the sender back.
WINDOW = 1 << 30
_PART = 32 << 10  # bytes in a message


class Stream:
    """A stream that the server knows by ``id``."""

    def __init__(self, id: str, call: Duplex) -> None:  # noqa: A002
        self.id = id
        self._call = call

    async def send(self, message: AnyMessage) -> None:
        await self._call.send(message)

    async def messages(self) -> AsyncIterator[AnyMessage]:
        """What the server sends, to the end."""
        while (message := await self._call.receive()) is not None:
            yield message

    async def send_bytes(self, source: AsyncIterable[bytes]) -> None:
        """Send all of ``source`` as fast as the server takes it, then end."""
        window = 0
        async for chunk in source:
            view = memoryview(chunk)
            while view:
                while window <= 0:
                    window += await self._window()
                part = view[: min(_PART, window)]
                await self.send(anys.pack(data_pb2.Data(data=bytes(part))))
                window -= len(part)
                view = view[len(part) :]
        await self._call.end()

    async def _window(self) -> int:
        message = await self._call.receive()
        if message is None:
            raise DataLoss("the server closed the stream before it had everything")
        update = anys.unpack(message)
        if not isinstance(update, data_pb2.WindowUpdate):
            raise InvalidArgument(f"the server sent a {message.type_url} where a window update was due")
        return update.update

    async def receive_bytes(self) -> AsyncIterator[bytes]:
        """The bytes that the server sends, to the end."""
        await self.send(anys.pack(data_pb2.WindowUpdate(update=WINDOW)))
        taken = 0
        async for message in self.messages():
            data = anys.unpack(message)
            if not isinstance(data, data_pb2.Data):
                raise InvalidArgument(f"the server sent a {message.type_url} where data was due")
            yield data.data
            taken += len(data.data)
            if taken >= WINDOW:
                with contextlib.suppress(ContainerdError):  # it may have sent all and ended; the reading tells
                    await self.send(anys.pack(data_pb2.WindowUpdate(update=taken)))
                taken = 0


class Streaming(Service):
    """Opens streams."""

    SERVICE = "containerd.services.streaming.v1.Streaming"

    @contextlib.asynccontextmanager
    async def open(self, prefix: str) -> AsyncIterator[Stream]:
        """A new stream, known to the server when this returns.

        :raises NotImplemented: the server has no streaming service (the Go containerd before 1.7).
        """
        name = f"{prefix}-{secrets.token_hex(8)}"
        call = self._stub.duplex("Stream")
        try:
            with contextlib.suppress(ContainerdError, asyncio.InvalidStateError):  # the answer below says why
                await call.send(anys.pack(streaming_pb2.StreamInit(id=name)))
            if await call.receive() is None:
                raise DataLoss("the server closed the stream when it was opened")
            yield Stream(name, call)
        finally:
            call.cancel()
