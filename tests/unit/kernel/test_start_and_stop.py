"""Starting, failing, hanging, skipping, blocking and stopping."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import attrs
import pytest

from pycontainerd.kernel import Daemon, KernelError, Registration, RegistrationError, Skip, State
from pycontainerd.kernel.errors import RequiredPluginError
from pycontainerd.kernel.initializer import Initializer

TYPE = "t.v1"


def plugin(id, init=lambda ctx: object(), type=TYPE, **kwargs):
    return Registration(type=type, id=id, init=init, **kwargs)


def test_independent_plugins_start_at_the_same_time(run):
    both = threading.Barrier(2, timeout=20)
    report = run(plugin("a", lambda ctx: both.wait()), plugin("b", lambda ctx: both.wait())).report
    assert {row.state for row in report.rows.values() if row.type == TYPE} == {State.OK}


def test_init_gets_its_config_and_directories_and_what_it_requires(run, tmp_path):
    @attrs.frozen
    class Config:
        size: int = 7

    seen = {}

    def init(ctx):
        seen.update(size=ctx.config.size, store=ctx.single("store.v1"), all=dict(ctx.by_type("store.v1")))
        seen.update(root=ctx.root, by_id=ctx.by_id("store.v1.s"))
        ctx.exports["k"] = "v"
        ctx.capabilities.append("c")

    report = run(plugin("a", init, config=Config, requires=["store.v1"]), plugin("s", lambda ctx: 5, "store.v1")).report
    assert seen == {"size": 7, "store": 5, "all": {"s": 5}, "by_id": 5, "root": str(tmp_path / "root" / "t.v1.a")}
    assert (tmp_path / "root" / "t.v1.a").is_dir()
    assert report.rows["t.v1.a"].exports == {"k": "v"}
    assert report.rows["t.v1.a"].capabilities == ["c"]


def test_a_coroutine_init_runs_on_the_loop_and_a_plain_one_does_not(run):
    threads = {}

    async def on_loop(ctx):
        threads["loop"] = threading.current_thread()
        assert ctx.loop is asyncio.get_running_loop()

    def in_thread(ctx):
        threads["thread"] = threading.current_thread()

    run(plugin("a", on_loop), plugin("b", in_thread))
    assert threads["loop"] is threading.main_thread()
    assert threads["thread"] is not threading.main_thread()


def boom(ctx):
    raise ValueError("no disk")


def leave(ctx):
    sys.exit(4)


async def leave_loop(ctx):
    sys.exit(5)


def interrupt(ctx):
    raise KeyboardInterrupt("not yours")


@pytest.mark.parametrize(
    ("init", "cause"),
    [
        (boom, "no disk"),
        (leave, "it called sys.exit(4)"),
        (interrupt, "not yours"),
    ],
)
def test_an_init_that_ends_badly_fails_alone(run, init, cause):
    report = run(plugin("bad", init), plugin("good")).report
    assert report.rows["t.v1.bad"].sentence == f"t.v1.bad is failed: {cause}"
    assert report.rows["t.v1.good"].state is State.OK


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_init_that_hangs_fails_at_its_deadline_and_holds_nobody_up(run, asynchronous):
    release = threading.Event()

    async def forever(ctx):
        await asyncio.Event().wait()

    init = forever if asynchronous else lambda ctx: release.wait(60)
    try:
        report = run(plugin("slow", init, deadline=0.05), plugin("good")).report
    finally:
        release.set()
    assert report.rows["t.v1.slow"].cause == "its init did not finish in 0.05 s"
    assert report.rows["t.v1.good"].state is State.OK


def skip(ctx):
    raise Skip("no such file system here", hint="mount it")


def test_a_skip_is_an_outcome_with_its_reason(run):
    row = run(plugin("fs", skip)).report.rows["t.v1.fs"]
    assert (row.state, row.cause) == (State.SKIPPED, "no such file system here (mount it)")


def test_another_platforms_plugin_is_skipped_without_init(run):
    row = run(plugin("w", boom, platforms=["win32"])).report.rows["t.v1.w"]
    assert row.state is State.SKIPPED
    assert row.cause == f"it runs on win32, this is {sys.platform}"


def test_a_blocked_plugin_leads_to_the_root_cause_with_the_line_that_did_it(run, told):
    settings = told(disabled={"store.v1.s": "/etc/containerd/config.toml:7"})
    made = run(
        plugin("top", requires=["t.v1.middle"]),
        plugin("middle", requires=["store.v1"]),
        plugin("s", type="store.v1"),
        settings=settings,
    )
    row = made.report.rows["t.v1.top"]
    assert row.state is State.BLOCKED
    assert row.sentence == ("t.v1.top <- t.v1.middle <- store.v1.s: disabled at /etc/containerd/config.toml:7")


def test_a_plugin_blocked_by_a_failed_one_says_how_that_failed(run):
    row = run(plugin("top", requires=["t.v1.bad"]), plugin("bad", boom)).report.rows["t.v1.top"]
    assert row.sentence == "t.v1.top <- t.v1.bad: failed: no disk"


def test_a_plugin_whose_requirement_is_not_installed_says_which_package_has_it(run):
    row = run(plugin("top", requires=["io.containerd.gc.v1"])).report.rows["t.v1.top"]
    assert row.state is State.BLOCKED
    assert row.sentence.endswith("(pip install pycontainerd-gc)")
    other = run(plugin("top", requires=["nobody.has.v1"])).report.rows["t.v1.top"]
    assert other.cause == "no plugin of this type is installed"


def test_a_config_that_does_not_fit_fails_its_plugin_alone(run, told):
    settings = told(broken={"t.v1.a": "c.toml:5: size must be an int"})
    report = run(plugin("a"), plugin("b"), settings=settings).report
    assert report.rows["t.v1.a"].cause == "c.toml:5: size must be an int"
    assert report.rows["t.v1.b"].state is State.OK


def test_plugins_stop_in_reverse_order_and_one_that_cannot_does_not_keep_the_rest(run):
    closed = []

    def close(instance):
        closed.append(instance)
        if instance == "b":
            raise OSError("stuck")

    run(
        plugin("a", lambda ctx: "a", close=close),
        plugin("b", lambda ctx: "b", close=close, requires=["t.v1.a"]),
        plugin("c", lambda ctx: "c", close=close, requires=["t.v1.b"]),
    )
    assert closed == ["c", "b", "a"]


def test_a_required_plugin_that_is_not_ok_ends_the_start_and_stops_what_ran(kernel, told):
    closed = []
    settings = told(required={"t.v1.bad": "c.toml:2"})
    made = kernel(plugin("good", close=closed.append), plugin("bad", boom), settings=settings)
    with pytest.raises(RequiredPluginError, match=r"t\.v1\.bad is failed: no disk; it is required at c\.toml:2"):
        asyncio.run(made.start())
    assert len(closed) == 1


def test_a_required_plugin_that_does_not_exist_is_answered_with_the_nearest(kernel, told):
    made = kernel(plugin("overlay"), settings=told(required={"t.v1.overlya": "c.toml:2"}))
    with pytest.raises(RequiredPluginError, match=r"did you mean t\.v1\.overlay\?"):
        asyncio.run(made.start())


def test_the_instances_of_a_type_are_there_while_it_runs(kernel):
    made = kernel(plugin("a", lambda ctx: 1), plugin("b", lambda ctx: 2))

    async def body():
        await made.start()
        try:
            return made.instances(TYPE)
        finally:
            await made.stop()

    assert asyncio.run(body()) == {"a": 1, "b": 2}


def test_single_wants_exactly_one_and_by_id_says_what_is_missing(run):
    said = []

    def init(ctx):
        for ask in (lambda: ctx.single("s.v1"), lambda: ctx.single("none.v1"), lambda: ctx.by_id("s.v1.x")):
            with pytest.raises(KernelError) as caught:
                ask()
            said.append(str(caught.value))

    two = [plugin(id, type="s.v1") for id in "ab"]
    assert run(plugin("p", init, requires=["s.v1"]), *two).report.rows["t.v1.p"].state is State.OK
    assert said == [
        "t.v1.p wants one plugin of type s.v1, there are 2: ['a', 'b']",
        "t.v1.p wants one plugin of type none.v1, there are 0: []",
        "t.v1.p asked for s.v1.x, which is not running",
    ]


def test_two_thousand_plugins_start_and_stop(run):
    async def init(ctx):
        return ctx.uri

    def name(number):
        return f"p{number:04}"

    chain = [plugin(name(n), init, requires=[f"{TYPE}.{name(n - 1)}"] if n else []) for n in range(2000)]
    report = run(*chain).report
    assert sum(row.state is State.OK for row in report.rows.values()) == 2000


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "no-version", "id": "a"},
        {"type": "a b.v1", "id": "a"},
        {"type": TYPE, "id": ""},
        {"type": TYPE, "id": "a/b"},
        {"type": TYPE, "id": "a", "requires": "io.containerd.event.v1"},
        {"type": TYPE, "id": "a", "wants": [1]},
        {"type": TYPE, "id": "a", "config": dict},
    ],
)
def test_a_registration_that_cannot_be_is_refused_at_once(wrong):
    with pytest.raises(RegistrationError):
        Registration(init=boom, **wrong)


def test_a_chain_of_ten_thousand_starts_and_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("os.makedirs", lambda *_args, **_kwargs: None)  # its own tests have it; here it is only slow

    async def init(ctx):
        return ctx.uri

    closed = []
    registrations = {
        f"{TYPE}.p{n}": plugin(f"p{n}", init, close=closed.append, requires=[f"{TYPE}.p{n - 1}"] if n else [])
        for n in range(10_000)
    }
    daemon = Daemon(str(tmp_path), str(tmp_path))
    initializer = Initializer(registrations, daemon, lambda _uri, _config: None)

    async def body():
        await initializer.start()
        states = [outcome.state for outcome in initializer.outcomes.values()]
        some = await initializer.stop({f"{TYPE}.p9990"})
        await initializer.stop()
        return states, some

    states, some = asyncio.run(body())
    assert states == [State.OK] * 10_000
    assert some == [f"{TYPE}.p{n}" for n in range(9990, 10_000)]
    assert closed == [f"{TYPE}.p{n}" for n in (*reversed(range(9990, 10_000)), *reversed(range(9990)))]


def test_of_many_independent_plugins_only_so_many_start_at_once(run, monkeypatch):
    monkeypatch.setattr("pycontainerd.kernel.initializer.AT_ONCE", 3)
    now, most = 0, 0

    async def init(ctx):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    report = run(*(plugin(f"p{n}", init) for n in range(20))).report
    assert sum(row.state is State.OK for row in report) == 20
    assert most == 3


def test_a_stop_of_some_leaves_what_another_of_the_type_still_serves(run, tmp_path):
    registrations = {
        one.uri: one for one in (plugin("a", type="s.v1"), plugin("b", type="s.v1"), plugin("t", requires=["s.v1"]))
    }
    initializer = Initializer(
        registrations, Daemon(str(tmp_path / "r"), str(tmp_path / "s")), lambda _uri, _config: None
    )

    async def body():
        await initializer.start()
        return await initializer.stop({"s.v1.a"}), await initializer.stop({"s.v1.a", "s.v1.b"})

    assert asyncio.run(body()) == (["s.v1.a"], ["s.v1.b", "t.v1.t"])


def test_while_a_start_takes_long_the_log_names_who_takes_so_long(run, monkeypatch, caplog):
    monkeypatch.setattr("pycontainerd.kernel.initializer.PATIENCE", 0.01)
    monkeypatch.setattr("pycontainerd.kernel.initializer.NAMED", 2)
    enough = threading.Event()

    def slow(ctx):
        enough.wait(30)

    class Watch(logging.Handler):
        def emit(self, record):
            if "the start waits" in record.getMessage():
                enough.set()

    handler = Watch()
    logging.getLogger("containerd").addHandler(handler)
    try:
        with caplog.at_level(logging.WARNING, "containerd"):
            run(*(plugin(f"p{n}", slow) for n in range(3)))
    finally:
        logging.getLogger("containerd").removeHandler(handler)
    assert any(
        one.getMessage() == "the start waits since 0.01 s for t.v1.p0, t.v1.p1 and 1 more" for one in caplog.records
    )
