"""Event taps: order, records, and that a slow or broken one costs nobody else anything."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from pycontainerd.contracts.events import Envelope, TaskExit, TaskPaused
from pycontainerd.contracts.hooks import MARK, Hooks, hook
from pycontainerd.contracts.types import now
from pycontainerd.events.exchange import Exchange
from pycontainerd.events.service import event_message, opened
from pycontainerd.events.taps import Taps
from pycontainerd.kernel import Logger
from pycontainerd.kernel.hooks import Implementations
from pycontainerd.testing.client import eventually


class Listening:
    def __init__(self):
        self.seen = []
        self.free = threading.Event()
        self.free.set()

    @hook
    def event_published(self, envelope):
        self.free.wait(30)
        self.seen.append(envelope.event.container_id)


class Broken:
    @hook
    def event_published(self):
        raise RuntimeError("no")


@pytest.fixture
def plugins():
    return {}


@pytest.fixture
def exchange(plugins):
    taps = Taps(Implementations(Hooks, MARK, lambda: dict(plugins)), opened, Logger("test"), backlog=10)
    loop = asyncio.new_event_loop()
    made = Exchange(loop, taps=taps)
    yield made
    made.close()
    loop.close()


def publish(exchange, *names):
    for name in names:
        exchange.publish("default", TaskPaused(name))


def test_a_tap_hears_everything_in_order_beside_a_broken_one(exchange, plugins, caplog):
    plugins |= {"a": Broken(), "b": (tap := Listening())}
    names = [str(number) for number in range(8)]
    publish(exchange, *names)
    eventually(lambda: tap.seen == names, "all events")
    eventually(
        lambda: "plugin a: its hook event_published failed: no" in str([r.fields for r in caplog.records]), "log"
    )


def test_taps_come_and_go_with_their_plugins(exchange, plugins):
    publish(exchange, "before")
    plugins["a"] = tap = Listening()
    publish(exchange, "while")
    eventually(lambda: tap.seen == ["while"], "the event while it was there")
    del plugins["a"]
    publish(exchange, "after")
    plugins["a"] = other = Listening()
    publish(exchange, "again")
    eventually(lambda: other.seen == ["again"], "the event after it came back")
    assert tap.seen == ["while"]


def test_a_slow_tap_loses_events_and_the_log_says_how_many(exchange, plugins, caplog):
    caplog.set_level(logging.WARNING)
    plugins |= {"slow": (slow := Listening()), "quick": (quick := Listening())}
    slow.free.clear()
    names = [str(number) for number in range(30)]
    for name in names:
        publish(exchange, name)
        eventually(lambda name=name: quick.seen[-1:] == [name], "the quick one is not delayed")
    slow.free.set()
    eventually(lambda: "events" in str([getattr(r, "fields", {}) for r in caplog.records]), "the loss")
    (said,) = [r.fields for r in caplog.records if "lost" in r.message]
    eventually(lambda: len(slow.seen) + said["events"] == 30, "what it got and what it lost is all")
    assert (said["plugin"], slow.seen) == ("slow", names[: len(slow.seen)])


def test_a_plugin_that_does_not_fit_stops_no_event(exchange, plugins):
    class Odd:
        def event_published(self, nothing): ...

    setattr(Odd.event_published, MARK, {"tryfirst": False, "trylast": False})
    plugins["odd"] = Odd()
    publish(exchange, "one", "two")


def test_an_encoded_event_is_opened_to_the_record_it_was():
    from pycontainerd.api.anys import pack
    from pycontainerd.contracts.types import AnyValue

    moment = now()
    record = TaskExit("c", "e", 7, 3, moment)
    encoded = pack(event_message(record))
    envelope = Envelope(moment, "default", "/tasks/exit", AnyValue(encoded.type_url, encoded.value))
    assert opened(envelope).event == record
    strange = Envelope(moment, "default", "/x", AnyValue("strange.Thing", b"\xff"))
    assert opened(strange) is strange
