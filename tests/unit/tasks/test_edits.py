"""The order of spec edits, and what becomes of a creation that one of them fails."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from pycontainerd.contracts.hooks import MARK, Hooks, hook
from pycontainerd.contracts.runtime import TaskCreation
from pycontainerd.contracts.types import AnyValue
from pycontainerd.kernel.hooks import Implementations
from pycontainerd.tasks import edits
from pycontainerd.tasks.edits import SpecEdits


def creation(spec=b'{"a": []}'):
    return TaskCreation("one", "io.containerd.runc.v2", AnyValue("url", spec))


def edited(*plugins, of=None):
    by_uri = {f"p{number}": plugin for number, plugin in enumerate(plugins)}
    found = SpecEdits(Implementations(Hooks, MARK, lambda: by_uri))
    return asyncio.run(found.edited("space", of or creation()))


class Adds:
    def __init__(self, what):
        self.what = what

    @hook
    def edit_oci_spec(self, namespace, id, runtime, spec):
        spec["a"].append([self.what, namespace, id, runtime])


class Early(Adds):
    @hook(first=True)
    def edit_oci_spec(self, spec):
        spec["a"].append(self.what)


class Late(Adds):
    @hook(last=True)
    def edit_oci_spec(self, spec):
        spec["a"].append(self.what)


def test_edits_follow_each_other_by_name_but_for_those_that_come_first_or_last():
    made = edited(Late("late"), Adds(1), Early("early"), Adds(2))
    rest = ["space", "one", "io.containerd.runc.v2"]
    assert json.loads(made.spec.value) == {"a": ["early", [1, *rest], [2, *rest], "late"]}
    assert made.spec.type_url == "url"


def test_without_edits_the_spec_is_what_the_client_sent_byte_for_byte():
    given = creation(b'{ "a":  1.0 }')
    assert edited(of=given) is given
    empty = TaskCreation("one", "r", AnyValue("url", b""))
    assert edited(Adds(1), of=empty) is empty


@pytest.mark.parametrize("spec", [b"{", b"[]", b"[" * 100_000])
def test_a_spec_that_is_none_is_the_clients_fault(spec):
    with pytest.raises(InvalidArgument, match="cannot create task 'one': its spec is not"):
        edited(Adds(1), of=creation(spec))


def test_what_a_plugin_raises_keeps_its_meaning_and_ends_the_edits():
    class Refuses:
        @hook
        def edit_oci_spec(self):
            raise PermissionDenied("never", hint="go away")

    after = Adds(1)
    after.edit_oci_spec_called = False
    with pytest.raises(PermissionDenied, match=r"cannot create task 'one': plugin p0: .* never \(go away\)") as failed:
        edited(Refuses(), after)
    assert failed.value.hint == "go away"


def test_a_plugin_that_hangs_is_given_up_on(monkeypatch):
    monkeypatch.setattr(edits, "DEADLINE", 0.05)
    stop = threading.Event()

    class Hangs:
        @hook
        def edit_oci_spec(self):
            stop.wait(60)

    try:
        with pytest.raises(FailedPrecondition, match=r"plugin p0: its hook edit_oci_spec did not finish in 0\.05 s"):
            edited(Hangs())
    finally:
        stop.set()
