"""The shim's event loop: coroutines, waiting, cancelling, descriptors and children."""

import os
import signal
import socket
import subprocess

import pytest

from pycontainerd.shim import log, loop


@pytest.fixture(autouse=True)
def own_loop():
    with loop.fresh():
        yield
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(log, "write", lines.append)
    return lines


def test_a_coroutine_gives_its_result_and_its_error():
    async def good():
        await loop.sleep(0)
        return 7

    async def bad():
        await loop.sleep(0)
        raise ValueError("no")

    assert loop.run(good()) == 7
    with pytest.raises(ValueError, match="no"):
        loop.run(bad())


def test_what_is_spawned_runs_beside_what_waits():
    async def body():
        seen = []

        async def count(name, pause):
            for number in range(3):
                await loop.sleep(pause)
                seen.append((name, number))

        tasks = [loop.spawn(count("a", 0.01)), loop.spawn(count("b", 0.01))]
        for task in tasks:
            await task
        return seen

    assert sorted(loop.run(body())) == [(name, number) for name in "ab" for number in range(3)]


def test_the_result_of_a_task_that_is_over_can_be_had_again():
    async def body():
        async def one():
            return 1

        task = loop.spawn(one())
        return [await task, await task, task.result()]

    assert loop.run(body()) == [1, 1, 1]


def test_within_gives_up_after_the_time_and_ends_what_it_waited_for():
    async def body():
        ended = []

        async def slow():
            try:
                await loop.sleep(60)
            finally:
                ended.append(True)

        with pytest.raises(TimeoutError):
            await loop.within(0.02, slow())
        return ended

    assert loop.run(body()) == [True]


def test_within_gives_a_result_or_error_that_came_in_time():
    async def body():
        async def fails():
            await loop.sleep(0)
            raise KeyError("x")

        async def works():
            return 3

        assert await loop.within(10, works()) == 3
        with pytest.raises(KeyError):
            await loop.within(10, fails())

    loop.run(body())


def test_who_is_cancelled_does_not_cancel_what_it_waits_for():
    async def body():
        async def work():
            await loop.sleep(0.02)
            return "done"

        shared = loop.spawn(work())

        async def waits():
            return await shared

        waiter = loop.spawn(waits())
        await loop.sleep(0)
        waiter.cancel()
        with pytest.raises(loop.Cancelled):
            await waiter
        return await shared

    assert loop.run(body()) == "done"


def test_a_task_cancelled_before_it_began_never_runs():
    async def body():
        ran = []

        async def work():
            ran.append(True)

        task = loop.spawn(work())
        task.cancel()
        await loop.wait([task], 1)
        return ran

    assert loop.run(body()) in ([], [True])  # it may have been scheduled first, but it is over in any case


def test_wait_tells_whether_all_are_done():
    async def body():
        first, second = loop.Future(), loop.Future()
        first.settle()
        assert not await loop.wait([first, second], 0.01)
        second.settle(error=ValueError())
        assert await loop.wait([first, second], 0.01)
        assert await loop.wait([], 0)

    loop.run(body())


def test_a_lock_goes_round_in_the_order_of_asking_and_survives_who_gives_up():
    async def body():
        lock, order = loop.Lock(), []

        async def take(name):
            async with lock:
                order.append(name)
                await loop.sleep(0.005)

        tasks = {name: loop.spawn(take(name)) for name in "abcd"}
        await loop.sleep(0)
        tasks["c"].cancel()
        for name in "abd":
            await tasks[name]
        async with lock:
            order.append("last")
        return order

    assert loop.run(body()) == ["a", "b", "d", "last"]


def test_an_event_wakes_all_who_wait_and_can_be_cleared():
    async def body():
        event, woken = loop.Event(), []

        async def waits(name):
            await event.wait()
            woken.append(name)

        tasks = [loop.spawn(waits(name)) for name in "ab"]
        await loop.sleep(0)
        assert not woken
        event.set()
        for task in tasks:
            await task
        event.clear()
        assert not event.is_set
        return woken

    assert loop.run(body()) == ["a", "b"]


def test_a_descriptor_closed_while_it_is_watched_is_dropped(said):
    async def body():
        reading, writing = os.pipe()
        loop.current().watch(reading, loop.READ, lambda: None)
        os.close(reading)
        os.close(writing)
        await loop.sleep(0.02)

    loop.run(body())
    assert len([line for line in said if "closed while" in line]) == 1


def test_a_callback_is_not_called_for_a_descriptor_that_was_given_up_in_the_same_turn():
    async def body():
        ours, theirs = zip(socket.socketpair(), socket.socketpair(), strict=True)
        called = []

        def first():
            called.append("called")
            for one in ours:
                loop.current().unwatch(one.fileno())

        for one, other in zip(ours, theirs, strict=True):
            loop.current().watch(one.fileno(), loop.READ, first)
            other.send(b"x")
        await loop.sleep(0.02)
        for one in (*ours, *theirs):
            one.close()
        return called

    assert loop.run(body()) == ["called"]


def test_a_callback_that_raises_does_not_end_the_loop(said):
    async def body():
        def fails(_):
            raise RuntimeError("oops")

        loop.current().call_later(0, fails)
        await loop.sleep(0.01)
        return True

    assert loop.run(body())
    assert "a callback failed" in said[0]


def test_a_task_that_fails_with_nobody_waiting_is_logged(said):
    async def body():
        async def fails():
            raise RuntimeError("unseen")

        loop.spawn(fails())
        await loop.sleep(0.01)

    loop.run(body())
    assert "unseen" in said[0]


def test_the_end_of_a_child_wakes_the_loop():
    async def body():
        ended = loop.Event()
        loop.current().on_child(ended.set)
        child = subprocess.Popen("/bin/true")  # noqa: ASYNC220
        await loop.within(10, ended.wait())
        return child

    assert loop.run(body()).wait(10) == 0


def test_timers_fire_in_their_order_and_not_when_cancelled():
    async def body():
        fired = []
        for name, pause in (("b", 0.02), ("a", 0.01), ("c", 0.03)):
            loop.current().call_later(pause, fired.append, name)
        loop.current().call_later(0.005, fired.append, "never").cancel()
        await loop.sleep(0.05)
        return fired

    assert loop.run(body()) == ["a", "b", "c"]
