"""The exchange: order, filters, and what happens to a subscriber that does not keep up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pycontainerd.contracts.errors import InvalidArgument, ResourceExhausted
from pycontainerd.contracts.events import (
    ContainerCreate,
    ContainerRuntime,
    Envelope,
    ImageCreate,
    ImageDelete,
    TaskCreate,
    TaskIO,
)
from pycontainerd.contracts.types import AnyValue, now
from pycontainerd.events.exchange import Exchange, validate_topic


async def take(subscription, count):
    return [await anext(subscription) for _ in range(count)]


def run(scenario, **options):
    async def main():
        return await scenario(Exchange(asyncio.get_running_loop(), **options))

    return asyncio.run(main())


def test_every_subscriber_gets_what_it_asked_for_in_the_order_of_publishing():
    async def scenario(exchange):
        everything, images = exchange.subscribe(), exchange.subscribe(['topic~="^/images/"', "namespace==other"])
        exchange.publish("default", ImageCreate("a", {"x": "y"}))
        exchange.publish("default", ContainerCreate("c"))
        exchange.publish("default", ImageDelete("a"))
        exchange.publish("other", ContainerCreate("d"))
        assert [one.topic for one in await take(everything, 4)] == [
            "/images/create",
            "/containers/create",
            "/images/delete",
            "/containers/create",
        ]
        got = await take(images, 3)
        assert [(one.namespace, one.topic) for one in got] == [
            ("default", "/images/create"),
            ("default", "/images/delete"),
            ("other", "/containers/create"),
        ]
        assert got[0].event == ImageCreate("a", {"x": "y"})
        assert got[0].timestamp.tzinfo is not None

    run(scenario)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ("event.name==a", ["a"]),
        ("event.name", ["a", "b"]),
        ("event.labels.tier==web", ["a"]),
        ('event.labels."dotted.key"==1', ["b"]),
        ("event.labels.absent", []),
        ("event.missing", []),
        ("event.__class__", []),
        ('topic=="/images/create",event.name==b', ["b"]),
    ],
)
def test_filters_reach_the_fields_and_labels_of_an_event(wanted, matches):
    async def scenario(exchange):
        subscription = exchange.subscribe([wanted])
        exchange.publish("default", ImageCreate("a", {"tier": "web"}))
        exchange.publish("default", ImageCreate("b", {"dotted.key": "1"}))
        exchange.publish("default", ImageCreate(""))
        subscription._overflowed = True
        names = []
        with pytest.raises(ResourceExhausted):
            while True:
                names.append((await anext(subscription)).event.name)
        assert names == matches

    run(scenario)


def test_filters_reach_nested_records_and_flags():
    async def scenario(exchange):
        subscription = exchange.subscribe(["event.runtime.name==runc", "event.io.terminal==true"])
        exchange.publish("default", ContainerCreate("no"))
        exchange.publish("default", ContainerCreate("yes", runtime=ContainerRuntime("runc")))
        exchange.publish("default", TaskCreate("no"))
        exchange.publish("default", TaskCreate("yes", io=TaskIO(terminal=True)))
        assert [one.event.__class__ for one in await take(subscription, 2)] == [ContainerCreate, TaskCreate]

    run(scenario)


def test_an_encoded_event_is_decoded_only_for_who_asks_for_its_fields():
    calls = []

    def decode(value):
        calls.append(value)
        return ImageCreate("inside")

    async def scenario(exchange):
        plain = exchange.subscribe(['topic=="/x/y"'])
        exchange.publish("default", AnyValue("t", b"1"), "/x/y")
        assert calls == []
        deep = [exchange.subscribe(["event.name==inside"]) for _ in range(2)]
        exchange.forward(Envelope(now(), "default", "/x/y", AnyValue("t", b"2")))
        assert len(calls) == 1
        assert [(await anext(one)).event.value for one in deep] == [b"2", b"2"]
        assert len(await take(plain, 2)) == 2

    run(scenario, decode=decode)


def test_publishers_in_threads_wake_a_waiting_subscriber_and_nothing_is_lost():
    async def scenario(exchange):
        subscription = exchange.subscribe()
        waiting = asyncio.ensure_future(take(subscription, 400))
        await asyncio.sleep(0)
        threads = [
            threading.Thread(
                target=lambda name=str(n): [exchange.publish("default", ImageCreate(name)) for _ in range(100)]
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        got = await waiting
        for thread in threads:
            thread.join()
        names = [one.event.name for one in got]
        assert {name: names.count(name) for name in "0123"} == dict.fromkeys("0123", 100)

    run(scenario)


def test_all_subscribers_see_the_same_order_whoever_published():
    async def scenario(exchange):
        subscriptions = [exchange.subscribe() for _ in range(3)]
        threads = [
            threading.Thread(
                target=lambda n=n: [exchange.publish("default", ImageCreate(f"{n}-{i}")) for i in range(50)]
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        orders = [[one.event.name for one in await take(each, 200)] for each in subscriptions]
        assert orders[0] == orders[1] == orders[2]

    run(scenario)


def test_a_subscriber_that_falls_behind_gets_what_came_before_the_gap_and_then_an_error():
    async def scenario(exchange):
        slow, quick = exchange.subscribe(), exchange.subscribe()
        for number in range(3):
            exchange.publish("default", ImageCreate(str(number)))
            assert (await anext(quick)).event.name == str(number)
        assert (await anext(slow)).event.name == "0"
        exchange.publish("default", ImageCreate("after the gap"))
        assert (await anext(slow)).event.name == "1"
        with pytest.raises(ResourceExhausted, match="more than 2 events behind"):
            await anext(slow)
        assert (await anext(quick)).event.name == "after the gap"
        assert len(exchange._subscribers) == 1

    run(scenario, backlog=2)


def test_closing_ends_the_iteration_and_takes_the_subscriber_off():
    async def scenario(exchange):
        subscription = exchange.subscribe()
        exchange.publish("default", ImageCreate("a"))
        waiting = exchange.subscribe()
        task = asyncio.ensure_future(take(waiting, 2))
        await asyncio.sleep(0)
        subscription.close()
        waiting.close()
        assert [one async for one in subscription] == []
        with pytest.raises(StopAsyncIteration):
            await anext(waiting)
        task.cancel()
        exchange.publish("default", ImageCreate("b"))
        assert not exchange._subscribers

    run(scenario)


def test_publishing_after_the_loop_has_ended_drops_the_subscriber_and_raises_nothing():
    exchange = None

    async def main():
        nonlocal exchange
        exchange = Exchange(asyncio.get_running_loop())
        exchange.subscribe()

    asyncio.run(main())
    exchange.publish("default", ImageCreate("a"))
    assert not exchange._subscribers


def test_an_event_without_a_topic_is_refused():
    async def scenario(exchange):
        with pytest.raises(InvalidArgument, match="without a topic"):
            exchange.publish("default", AnyValue("t", b""))
        with pytest.raises(InvalidArgument, match="dict"):
            exchange.publish("default", {})

    run(scenario)


@pytest.mark.parametrize("topic", ["/a", "/a/b", "/tasks/exec-added", "/a.b_c/9"])
def test_topics_are_paths_of_identifiers(topic):
    assert validate_topic(topic) == topic


@pytest.mark.parametrize(
    "topic", ["", "/", "a", "a/b", "//", "/a/", "/a//b", "/a b", "/-a", "/ä", "/" + "x" * 77, "/a\n"]
)
def test_a_malformed_topic_is_refused(topic):
    with pytest.raises(InvalidArgument):
        validate_topic(topic)


@pytest.mark.parametrize("namespace", ["", "a/b", "..", "x" * 77])
def test_a_malformed_namespace_is_refused(namespace):
    async def scenario(exchange):
        with pytest.raises(InvalidArgument):
            exchange.publish(namespace, ImageCreate("a"))

    run(scenario)


def test_an_unknown_filter_is_refused_when_subscribing():
    async def scenario(exchange):
        with pytest.raises(InvalidArgument):
            exchange.subscribe(["topic=="])
        assert not exchange._subscribers

    run(scenario)
