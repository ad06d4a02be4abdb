"""containerd.services.streaming.v1.Streaming."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api import anys
from pycontainerd.api.services.streaming.v1 import streaming_pb2 as pb
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue

from .streams import Stream, StreamManager

FIRST_MESSAGE = 30.0  # seconds a client may take to say which stream it opens


class StreamingRpc:
    """The gRPC edge of `StreamManager`: one call is one stream."""

    SERVICE = "containerd.services.streaming.v1.Streaming"

    def __init__(self, manager: StreamManager) -> None:
        self._manager = manager

    async def Stream(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        """Open the stream that the first message names, acknowledge it, then carry messages until it is closed."""
        namespace = call.namespace
        stream = self._manager.register(namespace, await _name(requests))
        pump = asyncio.create_task(_pump(requests, stream))
        try:
            yield anys.pack(Empty())
            async for message in stream.outgoing():
                yield Any(type_url=message.type_url, value=message.value)
        finally:
            self._manager.unregister(namespace, stream)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump


async def _name(requests: AsyncIterator[Any]) -> str:
    try:
        first = await asyncio.wait_for(anext(requests), FIRST_MESSAGE)
    except (StopAsyncIteration, TimeoutError):
        raise InvalidArgument("a stream must begin with a StreamInit message, none came") from None
    init = anys.unpack(first)
    if not isinstance(init, pb.StreamInit):
        raise InvalidArgument(f"a stream must begin with a StreamInit message, not with a {first.type_url}")
    return init.id


async def _pump(requests: AsyncIterator[Any], stream: Stream) -> None:
    """Carry what the client sends to whoever receives; a failing call ends in the handler's cancellation."""
    async for message in requests:
        await stream.feed(AnyValue(message.type_url, message.value))
    await stream.feed(None)
