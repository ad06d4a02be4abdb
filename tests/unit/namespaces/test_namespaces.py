"""Namespaces over a real database."""

from __future__ import annotations

import asyncio

import pytest

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument, NotFound
from pycontainerd.events.exchange import Exchange
from pycontainerd.leases.leases import Leases
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.namespaces.namespaces import Namespaces


@pytest.fixture
def database(tmp_path):
    made = SqliteDatabase(str(tmp_path / "m.db"), print, sync=False)
    yield made
    made.close()


@pytest.fixture
def namespaces(database):
    loop = asyncio.new_event_loop()
    yield Namespaces(database, Exchange(loop))
    loop.close()


def test_a_namespace_that_holds_something_says_what(namespaces, database):
    Leases(database).scoped("n").create("l")
    assert namespaces.list() == ["n"]
    with pytest.raises(FailedPrecondition, match="it still has leases"):
        namespaces.delete("n")
    Leases(database).scoped("n").delete("l")
    namespaces.delete("n")
    assert namespaces.list() == []


def test_a_namespace_that_was_never_made_has_no_labels_and_cannot_be_labelled(namespaces):
    assert namespaces.labels("none") == {}
    with pytest.raises(NotFound):
        namespaces.set_labels("none", {"a": "1"})
    assert namespaces.list() == []


def test_labels_are_set_by_path(namespaces):
    namespaces.create("n", {"a": "1", "b": "2"})
    assert namespaces.set_labels("n", {"a": "9"}, ["labels.a", "labels.b"]) == {"a": "9"}
    assert namespaces.labels("n") == {"a": "9"}
    with pytest.raises(InvalidArgument):
        namespaces.set_labels("n", {}, ["name"])


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "a" * 77, "ä", "a\n", "-a", "a-"])
def test_illegal_names_make_nothing(namespaces, name):
    with pytest.raises(InvalidArgument):
        namespaces.create(name)
    assert namespaces.list() == []
