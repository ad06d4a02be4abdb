from __future__ import annotations

import itertools
import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, NotFound
from pycontainerd.shim import loop
from pycontainerd.shim.publisher import Backlog
from pycontainerd.shim.pump import Pump
from pycontainerd.shim.reaper import Reaper
from pycontainerd.shim.states import CREATED, DELETED, PAUSED, RUNNING, STATUS, STOPPED, check

VERBS = ("start", "pause", "resume", "exec in", "kill", "update", "resize", "delete")


def test_nothing_can_be_done_to_a_deleted_process():
    for verb in VERBS:
        with pytest.raises(NotFound, match="deleted"):
            check(verb, DELETED, "it")


def test_a_running_process_can_be_killed_but_not_deleted_or_started():
    check("kill", RUNNING, "it")
    for verb in ("delete", "start", "resume"):
        with pytest.raises(FailedPrecondition, match=f"cannot {verb} it: it is running"):
            check(verb, RUNNING, "it")
    with pytest.raises(NotFound):
        check("kill", STOPPED, "it")


def test_every_verb_is_decided_in_every_state():
    for verb, state in itertools.product(VERBS, (CREATED, RUNNING, PAUSED, STOPPED, DELETED)):
        try:
            check(verb, state, "it")
        except ContainerdError as exc:
            assert state in str(exc)
        assert state in STATUS


def test_a_signal_is_an_exit_status_above_128():
    async def body():
        reaper = Reaper(lambda pid, ended: None)
        reaper.install()
        return [await reaper.spawn(["/bin/sh", "-c", command])[1] for command in ("exit 0", "exit 7", "kill -9 $$")]

    with loop.fresh():
        assert loop.run(body()) == [0, 7, 137]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["/tasks/start", "/tasks/exit", "/tasks/oom"]), max_size=60), st.integers(1, 8))
def test_a_full_backlog_keeps_its_order_and_its_exits(topics, limit):
    backlog = Backlog(limit)
    added = [{"topic": topic, "namespace": str(number)} for number, topic in enumerate(topics)]
    for envelope in added:
        backlog.add(envelope)
    kept = []
    while backlog.waiting:
        kept.append(backlog.waiting[0])
        backlog.done(kept[-1])
    numbers = [int(envelope["namespace"]) for envelope in kept]
    assert numbers == sorted(numbers)
    assert len(kept) <= 2 * limit
    assert len(kept) + backlog.dropped == len(added)
    exits = [envelope for envelope in added if envelope["topic"] == "/tasks/exit"]
    if len(exits) <= limit:
        assert [envelope for envelope in kept if envelope["topic"] == "/tasks/exit"] == exits


def moved(data, *, splice, slow):
    """What arrives of ``data`` at the end of a pump."""

    async def body():
        source, feed = os.pipe2(os.O_NONBLOCK)
        end, sink = os.pipe2(os.O_NONBLOCK)
        pump = Pump(source, sink, splice=splice)
        arrived = bytearray()
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(feed, rest) :]
            except BlockingIOError:
                pass
            await loop.sleep(0)
            try:
                arrived.extend(os.read(end, 1000 if slow else 1 << 20))
            except BlockingIOError:
                pass
        os.close(feed)
        while True:
            try:
                part = os.read(end, 1 << 20)
            except BlockingIOError:
                await loop.sleep(0)
                continue
            if not part:
                break
            arrived.extend(part)
        await pump.ended
        os.close(end)
        return bytes(arrived)

    with loop.fresh():
        return loop.run(body())


@pytest.mark.parametrize("splice", [False, True])
@pytest.mark.parametrize("slow", [False, True])
def test_a_pump_moves_everything_whatever_the_pace(splice, slow):
    data = os.urandom(300_000)
    assert moved(data, splice=splice, slow=slow) == data


def test_a_pump_swallows_what_a_broken_sink_does_not_take():
    async def body():
        source, feed = os.pipe2(os.O_NONBLOCK)
        end, sink = os.pipe2(os.O_NONBLOCK)
        os.close(end)
        pump = Pump(source, sink)
        for _ in range(20):
            os.write(feed, b"x" * 4096)
            await loop.sleep(0)
            await loop.sleep(0)
        os.close(feed)
        assert await loop.wait([pump.ended], 10)
        assert pump.moved == 20 * 4096

    with loop.fresh():
        loop.run(body())
