"""Leases over a real database."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound, NotImplemented
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.leases import Resource
from pycontainerd.contracts.types import Descriptor, Scope
from pycontainerd.events.exchange import Exchange
from pycontainerd.images.images import Images
from pycontainerd.leases.leases import MAX_ID, Leases
from pycontainerd.metadata.database import SqliteDatabase

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def database(tmp_path):
    made = SqliteDatabase(str(tmp_path / "m.db"), print, sync=False)
    yield made
    made.close()


def test_an_id_is_made_up_where_none_is_given_and_is_new_each_time(database):
    leases = Leases(database).scoped("n")
    made = [leases.create().id for _ in range(50)]
    assert len(set(made)) == 50


@pytest.mark.parametrize("id", ["moby-image-sha256:abc", "a/b/c", "ä", "x" * MAX_ID])
def test_ids_are_free_text(database, id):
    leases = Leases(database).scoped("n")
    assert leases.create(id).id == id
    assert [one.id for one in leases.list()] == [id]


@pytest.mark.parametrize("id", ["x" * (MAX_ID + 1), "a\nb", "a\0b"])
def test_ids_that_are_too_long_or_not_printable_are_refused(database, id):
    with pytest.raises(InvalidArgument):
        Leases(database).scoped("n").create(id)


def test_of_many_that_create_one_lease_one_succeeds(database):
    leases = Leases(database).scoped("n")

    def create(_number):
        try:
            return leases.create("same").id
        except AlreadyExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sorted(filter(None, pool.map(create, range(16)))) == ["same"]


def test_what_is_created_under_a_lease_is_held_by_it_until_it_goes(database):
    leases = Leases(database).scoped("n")
    leases.create("l")
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        images = Images(database, Exchange(loop))
    target = images.scoped(Scope("n", "l"))
    target.create(Image("i", Descriptor("m", DIGEST, 5)))
    assert leases.resources("l") == [Resource("images", "i")]
    leases.delete("l")
    with pytest.raises(NotFound, match="lease l"):
        target.create(Image("j", Descriptor("m", DIGEST, 5)))
    with pytest.raises(NotFound):
        images.scoped(Scope("n")).get("j")


def test_a_lease_goes_with_what_it_held_and_a_new_one_of_its_name_holds_nothing(database):
    leases = Leases(database).scoped("n")
    leases.create("l")
    leases.add_resource("l", Resource("content", DIGEST))
    leases.delete("l")
    leases.create("l")
    assert leases.resources("l") == []


def test_leases_of_another_namespace_are_not_seen(database):
    Leases(database).scoped("n").create("l")
    other = Leases(database).scoped("m")
    assert list(other.list()) == []
    with pytest.raises(NotFound):
        other.delete("l")


@pytest.mark.parametrize(
    ("type", "id", "error"),
    [
        ("content", "nonsense", InvalidArgument),
        ("snapshots", "k", InvalidArgument),
        ("snapshots/a/b", "k", InvalidArgument),
        ("images/x", "k", InvalidArgument),
        ("images", "", InvalidArgument),
        ("ingests", "r" * 5000, InvalidArgument),
        ("rubbish", "k", NotImplemented),
        ("", "k", NotImplemented),
    ],
)
def test_what_a_lease_cannot_hold_is_refused(database, type, id, error):
    leases = Leases(database).scoped("n")
    leases.create("l")
    with pytest.raises(error):
        leases.add_resource("l", Resource(type, id))
    assert leases.resources("l") == []
