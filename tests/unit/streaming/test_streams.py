"""Streams and their edge."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api import anys
from pycontainerd.api.services.streaming.v1 import streaming_pb2 as pb
from pycontainerd.contracts.errors import (
    AlreadyExists,
    Cancelled,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue
from pycontainerd.streaming import streams
from pycontainerd.streaming.service import StreamingRpc
from pycontainerd.streaming.streams import Stream, StreamManager

CALL = Call({"containerd-namespace": "ns"})


def test_a_name_is_open_once_in_each_namespace():
    manager = StreamManager()
    first = manager.register("a", "s")
    manager.register("b", "s")
    with pytest.raises(AlreadyExists):
        manager.register("a", "s")
    assert manager.get("a", "s") is first
    manager.unregister("a", first)
    with pytest.raises(NotFound):
        manager.get("a", "s")


@pytest.mark.parametrize("name", ["", "x" * 1000])
def test_a_stream_needs_a_name_of_reasonable_length(name):
    with pytest.raises(InvalidArgument):
        StreamManager().register("a", name)


def test_a_client_that_takes_nothing_does_not_fill_the_memory():
    stream = Stream("s")
    with pytest.raises(ResourceExhausted):
        for _ in range(streams.MAX_OUTGOING + 1):
            stream.send(AnyValue("t"))


def test_who_waits_for_a_client_that_goes_away_is_told():
    async def run():
        stream = Stream("s")
        waiting = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        stream.lost()
        with pytest.raises(Cancelled):
            await waiting
        with pytest.raises(Cancelled):
            await stream.receive()
        with pytest.raises(Unavailable):
            stream.send(AnyValue("t"))

    asyncio.run(run())


def test_the_edge_acknowledges_then_carries_messages_both_ways_until_closed():
    async def run():
        manager = StreamManager()
        requests: asyncio.Queue = asyncio.Queue()

        async def coming():
            while (item := await requests.get()) is not None:
                yield item

        requests.put_nowait(anys.pack(pb.StreamInit(id="s")))
        call = StreamingRpc(manager).Stream(coming(), CALL)
        assert (await anext(call)).type_url == "google.protobuf.Empty"
        stream = manager.get("ns", "s")
        requests.put_nowait(anys.pack(pb.StreamInit(id="hello")))
        assert (await stream.receive()).value == pb.StreamInit(id="hello").SerializeToString()
        requests.put_nowait(None)
        assert await stream.receive() is None
        assert await stream.receive() is None
        stream.send(AnyValue("t", b"v"))
        finishing = asyncio.create_task(stream.finish())
        assert [(one.type_url, one.value) async for one in call] == [("t", b"v")]
        await finishing
        with pytest.raises(NotFound):
            manager.get("ns", "s")

    asyncio.run(run())


@pytest.mark.parametrize("first", [None, pb.StreamInit(id=""), "other"])
def test_a_stream_must_begin_by_naming_itself(first):
    async def coming():
        if first is not None:
            yield anys.pack(Empty()) if first == "other" else anys.pack(first)

    async def run():
        with pytest.raises(InvalidArgument):
            await anext(StreamingRpc(StreamManager()).Stream(coming(), CALL))

    asyncio.run(run())


def test_a_cancelled_call_wakes_its_receiver():
    async def run():
        manager = StreamManager()

        async def coming():
            yield anys.pack(pb.StreamInit(id="s"))
            await asyncio.Event().wait()

        call = StreamingRpc(manager).Stream(coming(), CALL)
        await anext(call)
        stream = manager.get("ns", "s")
        waiting = asyncio.create_task(anext(call))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        with pytest.raises(Cancelled):
            await stream.receive()

    asyncio.run(run())
