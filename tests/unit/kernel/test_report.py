"""What the report says of plugins that are not up, and that it says it of ten thousand in no time worth mentioning."""

from __future__ import annotations

import pytest

from pycontainerd.kernel import Registration, Row, Skip, State
from pycontainerd.kernel.discovery import Found
from pycontainerd.kernel.initializer import Outcome
from pycontainerd.kernel.report import Report, nearest
from pycontainerd.kernel.rows import report

TYPE = "t.v1"


def plugin(id, init=lambda ctx: object(), type=TYPE, **kwargs):
    return Registration(type=type, id=id, init=init, **kwargs)


def refuse(ctx):
    raise Skip("no such file system")


def boom(ctx):
    raise ValueError("no disk")


def found(*registrations):
    return {one.uri: Found(one.uri, "dist", "1", registration=one) for one in registrations}


def test_a_type_that_nobody_provides_says_what_is_wrong_with_each_that_could(run, told):
    settings = told(disabled={"s.v1.native": "c.toml:3"})
    row = run(
        plugin("top", requires=["s.v1"]),
        plugin("zfs", refuse, type="s.v1"),
        plugin("native", type="s.v1"),
        plugin("overlay", boom, type="s.v1"),
        settings=settings,
    ).report.rows["t.v1.top"]
    assert row.sentence == (
        "t.v1.top <- s.v1.overlay: failed: no disk; nor is there s.v1.zfs (skipped: no such file system),"
        " s.v1.native (disabled at c.toml:3)"
    )
    assert row.chain == ("s.v1.overlay",)


def test_rows_have_times_platforms_and_what_they_want(run):
    row = run(plugin("a", wants=["s.v1"], requires=["t.v1.b"], platforms=["linux"]), plugin("b")).report.rows["t.v1.a"]
    assert (row.state, row.wants, row.requires, row.platforms) == (State.OK, ("s.v1",), ("t.v1.b",), ["linux"])
    assert row.init_seconds > 0
    assert row.package == "dist 1"


def test_a_plugin_of_another_system_shows_which():
    rows = report(found(plugin("hcs", platforms=["win32"])), {}, {}).rows
    assert rows["t.v1.hcs"].platforms == ["windows"]


@pytest.mark.parametrize(("late", "cause"), [(True, "t.v1.p: no socket"), (False, "t.v1.p: failed: no socket")])
def test_what_waits_for_a_late_plugin_says_what_that_waits_for(late, cause):
    state = State.BLOCKED if late else State.FAILED
    outcomes = {
        "t.v1.p": Outcome(state=state, cause="no socket", hint="start it", late=late),
        "t.v1.a": Outcome(state=State.BLOCKED, blocked_by="t.v1.p"),
    }
    rows = report(found(plugin("p"), plugin("a", requires=["t.v1.p"])), outcomes, {}).rows
    assert rows["t.v1.a"].sentence == f"t.v1.a <- {cause} (start it)"


def test_every_known_plugin_is_in_exactly_one_state(run, told):
    made = run(
        plugin("ok"),
        plugin("off"),
        plugin("skip", refuse),
        plugin("bad", boom),
        plugin("wait", requires=["t.v1.bad"]),
        settings=told(disabled={"t.v1.off": "c.toml:1"}),
    ).report
    states = {row.id: row.state for row in made if row.type == TYPE}
    assert states == {
        "ok": State.OK,
        "off": State.DISABLED,
        "skip": State.SKIPPED,
        "bad": State.FAILED,
        "wait": State.BLOCKED,
    }
    assert {row.state for row in made if row.type != TYPE} == {State.NOT_INSTALLED}
    assert all(row.cause for row in made if row.state is not State.OK)


def test_a_chain_of_ten_thousand_blocked_plugins_is_told_whole_and_said_short():
    chain = [plugin(f"p{n:05}", requires=[f"t.v1.p{n - 1:05}"] if n else []) for n in range(10_000)]
    outcomes = {one.uri: Outcome(state=State.BLOCKED, blocked_by=one.requires[0]) for one in chain[1:]}
    outcomes["t.v1.p00000"] = Outcome(state=State.FAILED, cause="no disk")
    made = report(found(*chain), outcomes, {})
    last = made.rows["t.v1.p09999"]
    assert len(last.chain) == 9_999
    assert last.chain[-1] == "t.v1.p00000"
    assert last.cause == "failed: no disk"
    assert len(last.sentence) < 1000
    assert "t.v1.p09999 <- t.v1.p09998 <- " in last.sentence
    assert last.sentence.endswith("t.v1.p00001 <- t.v1.p00000: failed: no disk")
    said = made.problems()
    assert len(said) == 18
    assert said[-1] == "and 9983 more plugins are blocked for the same reason: failed: no disk"


def test_a_plugin_that_waits_for_itself_ends_the_chain():
    outcomes = {f"t.v1.{a}": Outcome(state=State.BLOCKED, blocked_by=f"t.v1.{b}") for a, b in ("ab", "ba")}
    rows = report(found(plugin("a"), plugin("b")), outcomes, {}).rows
    assert rows["t.v1.a"].cause == "it waits for itself"
    assert rows["t.v1.a"].chain == ("t.v1.b", "t.v1.a")


def test_an_id_where_a_uri_is_wanted_is_answered_with_the_uri():
    rows = {one: Row(uri=one, type="t.v1", id="x", state=State.OK) for one in ("io.example.fs.v1.zfs2", "t.v1.x")}
    assert Report(rows).why("zfs2").endswith("did you mean io.example.fs.v1.zfs2?")
    assert nearest("nothing like it", rows) == ""
