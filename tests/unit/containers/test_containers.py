"""Container records over a real database."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from pycontainerd.api.services.containers.v1 import containers_pb2 as pb
from pycontainerd.containers.containers import Containers
from pycontainerd.containers.known import Known
from pycontainerd.containers.service import ContainersRpc
from pycontainerd.contracts.containers import Container
from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.contracts.types import AnyValue, Scope
from pycontainerd.events.exchange import Exchange
from pycontainerd.metadata.database import SqliteDatabase

SPEC = AnyValue("spec", b"{}")
FULL = Container(
    "c",
    labels={"a": "1"},
    image="i",
    runtime="r.v1",
    runtime_options=AnyValue("o", b"\0\xff"),
    spec=SPEC,
    snapshotter="s",
    snapshot_key="k",
    extensions={"e": AnyValue("x", b"1"), "f": AnyValue("y", b"2")},
    sandbox="box",
)


@pytest.fixture
def store(tmp_path):
    database = SqliteDatabase(str(tmp_path / "m.db"), print, sync=False)
    loop = asyncio.new_event_loop()
    made = Containers(database, Exchange(loop)).scoped(Scope("n"))
    yield made
    database.close()
    loop.close()


def test_a_container_comes_back_as_it_was_stored(store):
    made = store.create(FULL)
    assert store.get("c") == made
    assert attrs.evolve(made, created_at=None, updated_at=None) == FULL
    assert made.created_at == made.updated_at


def test_an_update_by_path_changes_that_and_the_time_alone(store):
    made = store.create(FULL)
    new = Container("c", labels={"a": "2"}, image="j", runtime="other", extensions={"e": AnyValue("z", b"9")})
    changed = store.update(new, ["extensions.e", "labels.a"])
    assert changed.extensions == {"e": AnyValue("z", b"9"), "f": AnyValue("y", b"2")}
    assert (changed.labels, changed.image, changed.runtime, changed.spec) == ({"a": "2"}, "i", "r.v1", SPEC)
    assert changed.created_at == made.created_at
    assert changed.updated_at >= made.updated_at
    assert store.get("c") == changed


def test_an_extension_that_the_update_does_not_have_goes(store):
    store.create(FULL)
    assert store.update(Container("c"), ["extensions.e"]).extensions == {"f": AnyValue("y", b"2")}
    assert store.get("c").extensions == {"f": AnyValue("y", b"2")}


def test_a_label_without_a_value_goes(store):
    store.create(FULL)
    assert store.update(Container("c"), ["labels.a"]).labels == {}


@pytest.mark.parametrize("path", ["id", "runtime", "snapshotter", "created_at", "", "labelsa", "sandbox"])
def test_what_cannot_change_by_path_is_refused_and_nothing_changes(store, path):
    made = store.create(FULL)
    with pytest.raises(InvalidArgument, match="cannot update"):
        store.update(attrs.evolve(FULL, labels={"b": "1"}), ["labels", path])
    assert store.get("c") == made


@pytest.mark.parametrize("change", [{"runtime": "other"}, {"snapshotter": "other"}, {"snapshotter": ""}])
def test_runtime_and_snapshotter_are_for_life(store, change):
    store.create(FULL)
    with pytest.raises(InvalidArgument, match="cannot change"):
        store.update(attrs.evolve(FULL, **change))


def test_an_update_that_would_leave_no_spec_is_refused(store):
    store.create(FULL)
    with pytest.raises(InvalidArgument, match="no spec"):
        store.update(attrs.evolve(FULL, spec=None))
    assert store.get("c").spec == SPEC


def test_an_update_or_removal_of_what_is_not_there_is_not_found(store):
    with pytest.raises(NotFound):
        store.update(FULL)
    with pytest.raises(NotFound):
        store.delete("c")


def test_a_list_shows_each_container_as_it_is_now_also_after_one_before(store):
    for name in ("a", "b", "c"):
        store.create(attrs.evolve(FULL, id=name))
    assert [one.id for one in store.list()] == ["a", "b", "c"]
    changed = store.update(attrs.evolve(FULL, id="b", image="new"), ["image"])
    store.delete("c")
    again = store.create(attrs.evolve(FULL, id="c", labels={"other": "1"}))
    assert list(store.list()) == [store.get("a"), changed, again]
    assert [one.id for one in store.list(["labels.other==1"])] == ["c"]


def test_two_updates_at_one_time_of_a_stopped_clock_are_two_times(store, monkeypatch):
    moment = store.create(FULL).updated_at
    monkeypatch.setattr("pycontainerd.containers.containers.now", lambda: moment)
    times = [store.update(FULL, ["image"]).updated_at for _ in range(3)]
    assert moment < times[0] < times[1] < times[2]


def test_what_is_kept_for_lists_is_bounded():
    known: Known[int, str] = Known(budget=10)
    for number in range(5):
        known.add(number, str(number), 3)
    assert [number for number in range(5) if known.get(number)] == [2, 3, 4]
    known.get(2)
    known.add(5, "5", 3)
    assert [number for number in range(6) if known.get(number)] == [2, 4, 5]
    known.add(4, "large", 11)
    assert [number for number in range(6) if known.get(number)] == []


def test_the_bytes_of_a_list_are_those_of_its_message(store):
    class Service:
        def scoped(self, scope):
            return store

    class Call:
        scope = Scope("n")

    edge = ContainersRpc(Service())
    store.create(FULL)
    store.create(attrs.evolve(FULL, id="large", spec=AnyValue("spec", b"x" * 70_000)))
    store.create(Container("bare", runtime="r", spec=SPEC))
    for _ in range(2):
        listed = pb.ListContainersResponse.FromString(edge.List(pb.ListContainersRequest(), Call()))
        assert [one.id for one in listed.containers] == ["bare", "c", "large"]
        for one in listed.containers:
            assert one == edge.Get(pb.GetContainerRequest(id=one.id), Call()).container
    assert not listed.containers[0].runtime.HasField("options")
