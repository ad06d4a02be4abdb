"""The fixtures for authors of plugins: a kernel of their registrations alone, and small stores."""

from __future__ import annotations

import attrs
import pytest

from pycontainerd.contracts import digests
from pycontainerd.kernel import Registration, Skip, State


@attrs.frozen
class Config:
    greeting: str = "hello"


def make(id, **more):
    return Registration(type="io.example.thing.v1", id=id, **{"init": lambda ctx: ctx.config, "config": Config, **more})


def test_a_kernel_runs_what_it_is_given_with_a_configuration(start_kernel):
    kernel = start_kernel(make("one"), make("off"), config="""
        disabled_plugins = ["io.example.thing.v1.off"]
        [plugins."io.example.thing.v1.one"]
          greeting = "good morning"
    """)  # fmt: skip
    assert kernel.instance("io.example.thing.v1.one").greeting == "good morning"
    assert kernel.row("io.example.thing.v1.off").state is State.DISABLED


def test_a_plugin_that_is_not_up_says_why(start_kernel):
    def skips(_ctx):
        raise Skip("not on this machine")

    kernel = start_kernel(make("one", init=skips), make("two", requires=("io.example.thing.v1.one",)))
    with pytest.raises(AssertionError, match="not on this machine"):
        kernel.instance("io.example.thing.v1.one")
    assert kernel.row("io.example.thing.v1.two").state is State.BLOCKED
    kernel.stop()
    kernel.stop()


def test_stores_are_empty_and_work(namespaced_content, snapshot_records):
    assert list(namespaced_content.walk()) == []
    writer = namespaced_content.writer("a")
    writer.write(b"x")
    writer.commit(1, digests.of(b"x"), {"k": "v"})
    assert namespaced_content.info(digests.of(b"x")).labels["k"] == "v"
    assert list(snapshot_records.walk(())) == []
