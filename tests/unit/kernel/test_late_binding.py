"""Plugins that wait for something outside the process, and what waits for them."""

from __future__ import annotations

import asyncio
import time

import pytest

from pycontainerd.kernel import Later, Registration, State
from pycontainerd.kernel.errors import RequiredPluginError

TYPE = "t.v1"


class Socket:
    """Something outside: ``there`` or not."""

    def __init__(self):
        self.there = False
        self.asked = 0
        self.closed = []

    def init(self, ctx):
        self.asked += 1
        if not self.there:
            raise Later("the socket /run/x is not there yet", hint="start its server")
        return self


async def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@pytest.fixture
def socket():
    return Socket()


def late(socket, **more):
    return Registration(type=TYPE, id="late", init=socket.init, close=socket.closed.append, **more)


def test_a_late_plugin_and_its_dependents_start_when_the_cause_goes_away(kernel, socket):
    seen = []
    user = Registration(type="u.v1", id="user", requires=[TYPE], init=lambda ctx: seen.append(ctx.single(TYPE)) or 1)
    further = Registration(type="w.v1", id="further", requires=["u.v1.user"], init=lambda ctx: 2)
    made = kernel(late(socket), user, further)

    async def run():
        await made.start()
        rows = made.report.rows
        assert rows["t.v1.late"].state is State.BLOCKED
        assert rows["t.v1.late"].sentence == "t.v1.late: the socket /run/x is not there yet (start its server)"
        assert "w.v1.further <- u.v1.user <- t.v1.late: the socket /run/x is not there yet" in made.report.why(
            "w.v1.further"
        )
        socket.there = True
        await until(lambda: made.report.rows["w.v1.further"].state is State.OK)
        assert {row.state for row in made.report.rows.values() if row.type in ("t.v1", "u.v1", "w.v1")} == {State.OK}
        await made.stop()

    asyncio.run(run())
    assert seen == [socket]
    assert socket.closed == [socket]


def test_a_live_view_shows_a_plugin_that_came_late(kernel, socket):
    views = []
    user = Registration(type="u.v1", id="user", wants=[TYPE], init=lambda ctx: views.append(ctx.by_type(TYPE)))
    made = kernel(late(socket), user)

    async def run():
        await made.start()
        (view,) = views
        assert dict(view) == {}
        assert made.report.rows["u.v1.user"].state is State.OK
        socket.there = True
        await until(lambda: "late" in view)
        assert view["late"] is socket
        await made.stop()
        assert len(view) == 0

    asyncio.run(run())


def test_a_plugin_that_waits_does_not_hold_up_the_start_or_the_stop(kernel, socket):
    made = kernel(late(socket), Registration(type="o.v1", id="other", init=lambda ctx: 1))

    async def run():
        await asyncio.wait_for(made.start(), 10)
        assert made.report.rows["o.v1.other"].state is State.OK
        await until(lambda: socket.asked >= 2)
        await asyncio.wait_for(made.stop(), 10)
        asked = socket.asked
        await asyncio.sleep(0.3)
        assert socket.asked == asked

    asyncio.run(run())


def test_a_late_plugin_that_then_fails_is_failed_and_is_left_alone(kernel):
    def init(ctx):
        calls.append(1)
        if len(calls) == 1:
            raise Later("not yet")
        raise ValueError("it speaks another protocol")

    calls = []
    made = kernel(Registration(type=TYPE, id="late", init=init))

    async def run():
        await made.start()
        await until(lambda: made.report.rows["t.v1.late"].state is State.FAILED)
        assert made.report.rows["t.v1.late"].cause == "it speaks another protocol"
        await made.stop()

    asyncio.run(run())


def test_a_required_plugin_that_is_late_stops_the_start_with_the_reason(kernel, told, socket):
    made = kernel(late(socket), settings=told(required={"t.v1.late": "config.toml:2"}))
    with pytest.raises(RequiredPluginError, match=r"the socket /run/x is not there yet.*config\.toml:2"):
        asyncio.run(made.start())


def test_the_log_says_whose_init_a_long_start_waits_for(kernel, caplog, monkeypatch):
    monkeypatch.setattr("pycontainerd.kernel.initializer.PATIENCE", 0.05)
    made = kernel(
        Registration(type="s.v1", id="slow", init=lambda ctx: time.sleep(0.4)),
        Registration(type="u.v1", id="user", requires=["s.v1"], init=lambda ctx: 1),
    )

    async def run():
        await made.start()
        await made.stop()

    asyncio.run(run())
    sentences = [record.getMessage() for record in caplog.records if "the start waits" in record.getMessage()]
    assert sentences
    assert all(sentence.endswith("for s.v1.slow") for sentence in sentences)
