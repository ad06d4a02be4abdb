"""The thread that runs collections, and those who wait for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from pycontainerd.contracts.errors import Internal, Unavailable
from pycontainerd.contracts.gc import Change
from pycontainerd.kernel.context import Logger
from pycontainerd.testing.client import eventually
from pycontainerd_gc.collector import Collector
from pycontainerd_gc.config import Config
from pycontainerd_gc.scheduler import Scheduler
from pycontainerd_gc.timetable import Timetable

EXPIRE = "containerd.io/gc.expire"


@pytest.fixture
def scheduler(world) -> Iterator[Scheduler]:
    def make(changed: Callable[[Change], None]) -> Collector:
        return Collector(world.database, world.inventory, changed)

    made = Scheduler(Timetable(Config(startup_delay="0s"), time.monotonic()), make, Logger("test"))
    made.start()
    yield made
    made.close()


def test_whoever_asks_gets_a_collection_that_began_after_asking(world, scheduler) -> None:
    def client(number: int) -> None:
        one = world.blob(f"b{number}", root="1")
        world.content.update(one, {})
        scheduler.collect()
        assert one not in {info.digest for info in world.content.walk()}

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(client, range(30)))
    assert scheduler.collections <= 30


def test_a_removal_is_reason_enough(world, scheduler) -> None:
    one = world.blob("x")
    world.image("i", one)
    world.images.delete("i")
    eventually(lambda: not list(world.store.walk()), "the blob is collected")


def test_what_expires_is_collected_then(world, scheduler) -> None:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    world.image("i", world.blob("x"), {EXPIRE: until})
    eventually(lambda: not world.images.list(), "the image expires")
    eventually(lambda: not list(world.store.walk()), "its blob goes with it")


def test_who_waits_for_a_collection_that_fails_is_told_and_the_next_one_works(world, scheduler, monkeypatch) -> None:
    real = world.inventory.forget
    monkeypatch.setattr(world.inventory, "forget", Mock(side_effect=Internal("broken")))
    world.blob("x")
    with pytest.raises(Internal, match="broken"):
        scheduler.collect()
    assert scheduler.failures == 1
    monkeypatch.setattr(world.inventory, "forget", real)
    assert scheduler.collect().removed == {"content": 1}


def test_who_waits_when_the_daemon_stops_is_told(world, scheduler, monkeypatch) -> None:
    entered, leave = threading.Event(), threading.Event()
    real = world.inventory.entries

    def slow(db, **kwargs):
        entered.set()
        leave.wait(20)
        yield from real(db, **kwargs)

    monkeypatch.setattr(world.inventory, "entries", slow)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(scheduler.collect)
        assert entered.wait(20)
        second = pool.submit(scheduler.collect)
        closing = pool.submit(scheduler.close)
        eventually(lambda: scheduler.collector.stopping, "it is being closed")
        leave.set()
        closing.result(20)
        first.result(20)
        with pytest.raises(Unavailable):
            second.result(20)
    with pytest.raises(Unavailable, match="the daemon is stopping"):
        scheduler.collect()
