"""The window protocol, both ways, against each other and against peers that do not keep to it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.api.types.transfer import streaming_pb2 as pb
from pycontainerd.contracts.errors import Cancelled, DataLoss, InvalidArgument
from pycontainerd.contracts.types import AnyValue
from pycontainerd.streaming.streams import Stream
from pycontainerd.transfer.bytestreams import WINDOW, Receiver, Sender

DATA = "containerd.types.transfer.Data"
UPDATE = "containerd.types.transfer.WindowUpdate"


def data(value: bytes) -> AnyValue:
    return AnyValue(DATA, pb.Data(data=value).SerializeToString())


def update(count: int) -> AnyValue:
    return AnyValue(UPDATE, pb.WindowUpdate(update=count).SerializeToString())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=100_000), max_size=6), st.lists(st.integers(1, 70_000), min_size=1, max_size=5))
def test_a_sender_never_exceeds_the_windows_and_sends_everything(pieces, windows):
    async def run():
        stream = Stream("s")
        got, granted = bytearray(), 0

        async def client():
            nonlocal granted
            count = 0

            async def grant():
                nonlocal granted, count
                granted += windows[count % len(windows)]
                await stream.feed(update(windows[count % len(windows)]))
                count += 1

            await grant()
            async for message in stream.outgoing():
                got.extend(pb.Data.FromString(message.value).data)
                assert len(got) <= granted
                if len(got) == granted:
                    await grant()

        reading = asyncio.create_task(client())
        sender = Sender(stream)
        for piece in pieces:
            await sender.send(piece)
        stream.close()
        await reading
        assert bytes(got) == b"".join(pieces)

    asyncio.run(run())


def test_a_client_that_ends_before_it_has_everything_is_an_error():
    async def run():
        stream = Stream("s")
        await stream.feed(update(3))
        await stream.feed(None)
        with pytest.raises(DataLoss):
            await Sender(stream).send(b"four")

    asyncio.run(run())


async def received(messages):
    stream = Stream("s")
    receiver = Receiver(stream)
    carrying = asyncio.create_task(receiver.run())
    reading = asyncio.create_task(asyncio.to_thread(lambda: b"".join(receiver)))
    for message in messages:
        await stream.feed(message)
    try:
        return await reading
    finally:
        await carrying


def test_a_receiver_gives_what_came_in_order():
    assert asyncio.run(received([data(b"a"), data(b""), data(b"b" * 1000), None])) == b"a" + b"b" * 1000


@pytest.mark.parametrize("message", [AnyValue("x.Other"), AnyValue(DATA, b"\xff"), update(5)])
def test_anything_but_data_is_refused(message):
    with pytest.raises(InvalidArgument):
        asyncio.run(received([message]))


def test_a_client_that_sends_more_than_it_was_granted_is_refused():
    async def run():
        stream = Stream("s")
        receiver = Receiver(stream)
        carrying = asyncio.create_task(receiver.run())
        big = data(bytes(8 << 20))
        for _ in range(WINDOW // (8 << 20) + 5):
            await stream.feed(big)
        await carrying
        with pytest.raises(InvalidArgument, match="granted"):
            await asyncio.to_thread(lambda: b"".join(receiver))

    asyncio.run(run())


def test_a_client_that_goes_away_ends_the_reading():
    async def run():
        stream = Stream("s")
        receiver = Receiver(stream)
        carrying = asyncio.create_task(receiver.run())
        reading = asyncio.create_task(asyncio.to_thread(lambda: b"".join(receiver)))
        await asyncio.sleep(0)
        stream.lost()
        with pytest.raises(Cancelled):
            await reading
        await carrying

    asyncio.run(run())
