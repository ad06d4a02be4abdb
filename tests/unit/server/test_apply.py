"""Bringing a running kernel to another configuration."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from pycontainerd.kernel import Daemon, Kernel, Later, Registration, State
from pycontainerd.kernel.discovery import Found
from pycontainerd.server.apply import ReloadError, reload


@attrs.frozen
class Config:
    size: int = 1
    name: str = "a"


@attrs.define
class Told:
    """Settings: ``values`` by URI."""

    disabled: dict[str, str] = attrs.field(factory=dict)
    required: dict[str, str] = attrs.field(factory=dict)
    values: dict[str, Any] = attrs.field(factory=dict)
    proxies: dict[str, str] = attrs.field(factory=dict)

    def plugin(self, uri, config):
        value = self.values.get(uri, {})
        if isinstance(value, Exception):
            raise value
        return config(**value) if config is not None else None


@pytest.fixture
def log():
    return []


@pytest.fixture
def house(tmp_path, log):
    """A kernel of registrations, to which more may be installed later."""
    installed: dict[str, Registration] = {}

    def find(disabled):
        return {
            uri: Found(uri, "dist", "1", registration=None if uri in disabled else one)
            for uri, one in installed.items()
        }

    def extra(settings):
        def proxy(name, address):
            uri = f"p.v1.{name}"
            made = Registration(type="p.v1", id=name, init=lambda ctx: address, close=lambda one: log.append(f"-{one}"))
            return Found(uri, "proxy", "", registration=made, made_of=address)

        return {f"p.v1.{name}": proxy(name, address) for name, address in settings.proxies.items()}

    def make(*registrations, settings=None):
        installed.update({one.uri: one for one in registrations})
        made = Kernel(
            Daemon(str(tmp_path / "root"), str(tmp_path / "state")), settings or Told(), find=find, extra=extra
        )
        made.install = lambda one: installed.__setitem__(one.uri, one)
        return made

    return make


def plugin(log, id, type="t.v1", **more):
    def init(ctx):
        log.append(f"+{id}")
        return id

    more.setdefault("init", init)
    return Registration(type=type, id=id, close=lambda one: log.append(f"-{one}"), **more)


def run(kernel, *settings, dry_run=False):
    """Start, reload with each of ``settings``, stop; the changes as sentences and the states afterwards."""

    async def go():
        await kernel.start()
        said = [[change.sentence for change in await reload(kernel, one, dry_run=dry_run)] for one in settings]
        states = {
            uri: str(row.state) for uri, row in kernel.report.rows.items() if row.distribution in ("dist", "proxy")
        }
        await kernel.stop()
        return said, states

    return asyncio.run(go())


def test_nothing_changed_touches_nothing(house, log):
    said, _ = run(house(plugin(log, "a", config=Config)), Told())
    assert said == [[]]
    assert log == ["+a", "-a"]


def test_a_plugin_that_can_reload_gets_its_new_config(house, log):
    one = plugin(log, "a", config=Config, reload=lambda instance, config: log.append((instance, config)))
    told = Told(values={"t.v1.a": {"size": 5}})
    said, _ = run(house(one), told, told)
    assert said == [['plugins."t.v1.a".size: applied'], []]
    assert log == ["+a", ("a", Config(size=5)), "-a"]


def test_keys_that_only_a_restart_can_change_are_said_again_and_again(house, log):
    one = plugin(log, "a", config=Config, reload=lambda instance, config: ["name"])
    told = Told(values={"t.v1.a": {"size": 5, "name": "b"}})
    said, _ = run(house(one, plugin(log, "b", config=Config)), told, told)
    assert said == [
        ['plugins."t.v1.a".size: applied', 'plugins."t.v1.a".name: needs restart of t.v1.a'],
        ['plugins."t.v1.a".name: needs restart of t.v1.a'],
    ]


def test_a_plugin_without_reload_needs_a_restart(house, log):
    said, _ = run(house(plugin(log, "a", config=Config)), Told(values={"t.v1.a": {"size": 2}}))
    assert said == [['plugins."t.v1.a".size: needs restart of t.v1.a']]


def test_a_reload_that_raises_is_rejected_and_the_others_go_on(house, log):
    def refuse(instance, config):
        raise ValueError("7 is too many")

    kernel = house(
        plugin(log, "a", config=Config, reload=refuse),
        plugin(log, "b", config=Config, reload=lambda instance, config: log.append(config.size)),
    )
    said, states = run(kernel, Told(values={"t.v1.a": {"size": 7}, "t.v1.b": {"size": 8}}))
    assert said == [['plugins."t.v1.a".size: rejected: 7 is too many', 'plugins."t.v1.b".size: applied']]
    assert set(states.values()) == {"ok"}
    assert 8 in log


def test_a_bad_config_changes_nothing_and_names_everything_that_is_wrong(house, log):
    kernel = house(
        plugin(log, "a", config=Config, reload=lambda instance, config: log.append("reloaded")),
        plugin(log, "b", config=Config),
        plugin(log, "c"),
    )
    bad = Told(
        disabled={"t.v1.c": "f:1"},
        required={"t.v1.c": "f:2"},
        values={"t.v1.a": {"size": 5}, "t.v1.b": ValueError("f:3: size must be an int")},
    )

    async def go():
        await kernel.start()
        with pytest.raises(ReloadError) as caught:
            await reload(kernel, bad)
        states = {row.state for row in kernel.report.rows.values() if row.type == "t.v1"}
        await kernel.stop()
        return caught.value.problems, states

    problems, states = asyncio.run(go())
    assert problems == ("f:3: size must be an int", "t.v1.c is required at f:2, but it would be disabled")
    assert states == {State.OK}
    assert log[:3] == ["+a", "+b", "+c"]
    assert "reloaded" not in log


def test_disabling_stops_a_plugin_and_its_dependents_only_and_enabling_starts_them(house, log):
    kernel = house(
        plugin(log, "base", "b.v1"),
        plugin(log, "leaf", requires=["b.v1"]),
        plugin(log, "user", "u.v1", requires=["t.v1"]),
        plugin(log, "wisher", "w.v1", wants=["t.v1"]),
    )
    said, states = run(kernel, Told(disabled={"t.v1.leaf": "f:1"}), Told())
    assert said == [
        ["disabled_plugins: applied: it is stopped, and with it u.v1.user"],
        ["disabled_plugins: applied: t.v1.leaf is ok"],
    ]
    assert log[4:8] == ["-user", "-leaf", "+leaf", "+user"]
    assert set(states.values()) == {"ok"}


def test_a_dependent_with_another_plugin_of_the_type_goes_on(house, log):
    kernel = house(plugin(log, "a"), plugin(log, "b"), plugin(log, "user", "u.v1", requires=["t.v1"]))
    said, states = run(kernel, Told(disabled={"t.v1.a": "f:1"}))
    assert said == [["disabled_plugins: applied: it is stopped"]]
    assert states == {"t.v1.a": "disabled", "t.v1.b": "ok", "u.v1.user": "ok"}


def test_what_was_installed_since_the_start_is_started(house, log):
    kernel = house(plugin(log, "a"))

    async def go():
        await kernel.start()
        kernel.install(plugin(log, "new"))
        changes = await reload(kernel, Told())
        await kernel.stop()
        return [change.sentence for change in changes]

    assert asyncio.run(go()) == ['plugins."t.v1.new": applied: t.v1.new is ok']


def test_what_failed_is_tried_again_and_what_waited_for_it_starts(house, log):
    def init(ctx):
        if not well:
            raise OSError("no such device")
        return "a"

    well = []
    kernel = house(plugin(log, "a", init=init), plugin(log, "user", "u.v1", requires=["t.v1"]))

    async def go():
        await kernel.start()
        before = [str(row.state) for row in kernel.report.rows.values() if row.distribution == "dist"]
        well.append(1)
        changes = await reload(kernel, Told())
        after = [str(row.state) for row in kernel.report.rows.values() if row.distribution == "dist"]
        await kernel.stop()
        return before, [change.sentence for change in changes], after

    before, said, after = asyncio.run(go())
    assert before == ["failed", "blocked"]
    assert said == ['plugins."t.v1.a": applied: tried again: t.v1.a is ok']
    assert after == ["ok", "ok"]


def test_proxies_come_go_and_change_with_the_configuration(house, log):
    said, states = run(
        house(),
        Told(proxies={"one": "/a", "two": "/b"}),
        Told(proxies={"one": "/a", "two": "/c"}),
        Told(proxies={"two": "/c"}),
    )
    assert said == [
        ["proxy_plugins: applied: p.v1.one is ok", "proxy_plugins: applied: p.v1.two is ok"],
        ["proxy_plugins: applied: p.v1.two is ok"],
        ["proxy_plugins: applied: it is stopped"],
    ]
    assert log == ["-/b", "-/a", "-/c"]
    assert states == {"p.v1.two": "ok"}


def test_a_dry_run_says_what_would_happen_and_does_nothing(house, log):
    kernel = house(plugin(log, "a", config=Config), plugin(log, "b"), settings=Told(disabled={}))
    said, states = run(
        kernel, Told(disabled={"t.v1.b": "f:1"}, values={"t.v1.a": {"name": "z"}}, proxies={"p": "/p"}), dry_run=True
    )
    assert said == [
        [
            "disabled_plugins: applied: it would stop",
            "proxy_plugins: applied: it would start",
            'plugins."t.v1.a".name: needs restart of t.v1.a',
        ]
    ]
    assert states == {"t.v1.a": "ok", "t.v1.b": "ok"}


def test_a_late_plugin_whose_config_changes_is_tried_with_the_new_one(house, log):
    def init(ctx):
        if ctx.config.size < 2:
            raise Later("not yet")
        return "a"

    said, states = run(house(plugin(log, "a", init=init, config=Config)), Told(values={"t.v1.a": {"size": 2}}))
    assert said == [['plugins."t.v1.a".size: applied: t.v1.a is ok']]
    assert states == {"t.v1.a": "ok"}
