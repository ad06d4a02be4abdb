"""Bounds on calls under way, and the watch over them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

import pytest

from pycontainerd.contracts.errors import ResourceExhausted
from pycontainerd.proxy.calls import Calls
from pycontainerd.testing.client import eventually


@contextlib.contextmanager
def held(calls: Calls, *names: tuple[str, str], limit: int = 4) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for plugin, call in names:
            stack.enter_context(calls.take(plugin, call, "/s", deadline=60, limit=limit))
        yield


def refused(calls: Calls, plugin: str, call: str, limit: int = 4) -> str:
    with pytest.raises(ResourceExhausted) as error, calls.take(plugin, call, "/s", deadline=60, limit=limit):
        pytest.fail("there was room")
    return str(error.value)


def test_half_of_the_room_is_for_one_kind_of_call() -> None:
    calls = Calls(stuck=0.0)
    with held(calls, ("a", "Remove"), ("a", "Remove")):
        assert "a: no room for Remove: 2 calls" in refused(calls, "a", "Remove")
        with held(calls, ("a", "Stat"), ("a", "Stat")):
            assert "4 calls" in refused(calls, "a", "Prepare")
            with held(calls, ("b", "Remove")):
                pass
    with held(calls, ("a", "Remove")):
        pass


def test_all_plugins_together_leave_room_for_others() -> None:
    calls = Calls(total=3, stuck=0.0)
    with held(calls, ("a", "x"), ("b", "x"), ("c", "x")):
        assert "a has been in x at /s" in refused(calls, "d", "x")


def test_where_calls_end_the_next_waits_for_room() -> None:
    calls = Calls(stuck=60.0)
    release, entered = threading.Event(), threading.Event()

    def first() -> None:
        with held(calls, ("a", "x"), ("a", "x")):
            entered.set()
            release.wait()

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    done: list[bool] = []
    second = threading.Thread(target=lambda: done.append(taken(calls)))
    second.start()
    release.set()
    second.join()
    thread.join()
    assert done == [True]


def taken(calls: Calls) -> bool:
    with held(calls, ("a", "x")):
        return True


def test_nobody_waits_beyond_the_own_deadline() -> None:
    calls = Calls(stuck=60.0)
    late = calls.take("a", "x", "/s", deadline=0.05, limit=4)
    with held(calls, ("a", "x"), ("a", "x")), pytest.raises(ResourceExhausted), late:
        pytest.fail("there was room")


def test_what_runs_past_its_deadline_is_cancelled_once() -> None:
    calls = Calls()
    cancelled: list[str] = []
    with calls.take("a", "x", "/s", deadline=0.05, cancel=lambda: cancelled.append("x")) as entry:
        eventually(lambda: entry.cancelled, "it is cancelled")
    with calls.take("a", "x", "/s", deadline=60, cancel=lambda: cancelled.append("y")):
        pass
    assert cancelled == ["x"]


def test_what_runs_long_is_named_in_the_log_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(slow=0.02)
    caplog.set_level(logging.WARNING, "containerd.proxy")
    with held(calls, ("a", "Remove")):
        eventually(lambda: caplog.text.count("a slot is held: a has been in Remove at /s for 0 s") >= 2, "said twice")
        assert calls.under_way() == ["a has been in Remove at /s for 0 s"]
    assert calls.under_way() == []
