"""Implementations of hooks come and go with their plugins, in a fixed order, and one that fails is named."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import types

import pytest

from pycontainerd.kernel import Registration, State
from pycontainerd.kernel.discovery import installed as installed_types
from pycontainerd.kernel.discovery import modules
from pycontainerd.kernel.hooks import HookError, Implementations

MARK = "test_mark"


def mark(function=None, **options):
    def add(one):
        setattr(one, MARK, options)
        return one

    return add if function is None else add(function)


class Specs:
    def tell(self, what, more):
        """A hook."""


class Plain:
    def __init__(self):
        self.heard = []

    @mark
    def tell(self, what):
        self.heard.append(what)
        return what

    @property
    def dear(self):
        raise AssertionError("looking for hooks must not run properties")

    def other(self):
        """Not marked."""


class First(Plain):
    @mark(tryfirst=True)
    def tell(self, more, what):
        return (more, what)


class Broken:
    @mark
    def tell(self):
        raise KeyError("nothing here")


class Leaving:
    @mark
    def tell(self):
        sys.exit(4)


def test_implementations_are_called_with_what_they_take_and_in_order():
    found = Implementations(Specs, MARK, lambda: {"b": Plain(), "a": Plain(), "z": First()}).of("tell")
    assert [(one.uri, one.call(what=1, more=2)) for one in found] == [("z", (2, 1)), ("a", 1), ("b", 1)]


def test_they_come_and_go_with_their_plugins():
    plugins = {}
    implementations = Implementations(Specs, MARK, lambda: dict(plugins))
    assert implementations.of("tell") == []
    plugins["a"] = old = Plain()
    implementations.of("tell")[0].call(what=1, more=0)
    plugins["a"] = new = Plain()
    implementations.of("tell")[0].call(what=2, more=0)
    assert (old.heard, new.heard) == ([1], [2])
    del plugins["a"]
    assert implementations.of("tell") == []


def test_a_module_can_hold_implementations():
    module = types.ModuleType("sample")
    module.tell = mark(lambda what: what * 2)
    (found,) = Implementations(Specs, MARK, lambda: {"m": module}).of("tell")
    assert found.call(what=4, more=None) == 8


@pytest.mark.parametrize(("plugin", "said"), [(Broken(), "nothing here"), (Leaving(), r"sys.exit\(4\)")])
def test_one_that_fails_is_named(plugin, said):
    (found,) = Implementations(Specs, MARK, lambda: {"the.plugin": plugin}).of("tell")
    with pytest.raises(HookError, match=f"plugin the.plugin: its hook tell failed: .*{said}"):
        found.call(what=1, more=2)


def test_one_that_does_not_fit_the_spec_is_named():
    class Odd:
        @mark
        def tell(self, nobody): ...

    with pytest.raises(HookError, match="plugin odd does not fit the hooks"):
        Implementations(Specs, MARK, lambda: {"odd": Odd()}).of("tell")


def test_one_that_hangs_is_given_up_on():
    stop = threading.Event()

    class Hanging:
        @mark
        def tell(self):
            stop.wait(60)

    (found,) = Implementations(Specs, MARK, lambda: {"slow": Hanging()}).of("tell")
    try:
        with pytest.raises(HookError, match=r"plugin slow: its hook tell did not finish in 0.05 s"):
            asyncio.run(found.call_in_thread(0.05, what=1, more=2))
    finally:
        stop.set()


def test_without_plugins_pluggy_is_not_imported():
    code = (
        "import sys; from pycontainerd.kernel.hooks import Implementations;"
        "Implementations(object, 'x', dict).of('nothing'); print('pluggy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_what_is_imported_elsewhere_is_listed_and_left_alone(tmp_path, packages, installed, told):
    for name, uri in {"sample-command": "io.containerd.ctr.v1.wave", "sample-off": "io.containerd.ctr.v1.off"}.items():
        module = f"from pathlib import Path\nPath({str(tmp_path / name)!r}).touch()\n"
        packages.install(tmp_path / name.replace("sample", "site"), name, module, {uri: name.replace("-", "_")})
    rows = installed(told(disabled={"io.containerd.ctr.v1.off": "c.toml:1"})).report.rows
    row = rows["io.containerd.ctr.v1.wave"]
    assert (row.state, row.distribution, row.version) == (State.SKIPPED, "sample-command", "1.2.3")
    assert row.cause == "it is a command of ctr, which imports it when it is called"
    assert rows["io.containerd.ctr.v1.off"].state is State.DISABLED
    assert not (tmp_path / "sample-command").exists()
    assert not (tmp_path / "sample-off").exists()


def test_modules_are_imported_by_name_and_say_what_went_wrong(tmp_path, packages, monkeypatch):
    uris = {"io.containerd.ctr.v1.good": "x = 1", "io.containerd.ctr.v1.bad": "raise RuntimeError('no')"}
    for uri, module in uris.items():
        name = f"sample-{uri.rpartition('.')[2]}-module"
        packages.install(tmp_path / name, name, module, {uri: name.replace("-", "_")})
        monkeypatch.syspath_prepend(str(tmp_path / name))
    assert installed_types("io.containerd.ctr.v1", packages.GROUP) == sorted(uris)
    loaded, failures = modules(sorted(uris), packages.GROUP)
    assert loaded["io.containerd.ctr.v1.good"].x == 1
    assert str(failures["io.containerd.ctr.v1.bad"]) == "no"


def test_running_plugins_of_a_type_are_asked_by_their_uri(kernel, tmp_path):
    seen = {}

    def asks(ctx):
        seen["found"] = Implementations.in_types(Specs, MARK, ctx, ("io.example.hook.v1",))
        return object()

    made = kernel(
        Registration(type="io.example.hook.v1", id="one", init=lambda _ctx: Plain()),
        Registration(type="io.example.hook.v10", id="not", init=lambda _ctx: Plain()),
        Registration(type="io.example.asker.v1", id="one", init=asks),
    )

    async def run():
        await made.start()
        running = [one.uri for one in seen["found"].of("tell")]
        await made.stop()
        return running, seen["found"].of("tell")

    assert asyncio.run(run()) == (["io.example.hook.v1.one"], [])
