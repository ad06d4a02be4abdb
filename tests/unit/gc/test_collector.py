"""Collections over a real database, blobs and snapshots; and what happens to them meanwhile."""

from __future__ import annotations

import os
import threading
from unittest.mock import Mock

import attrs
import pytest

from pycontainerd.contracts.errors import FailedPrecondition, NotFound
from pycontainerd.contracts.events import ContentDelete, ImageDelete, SnapshotRemove
from pycontainerd.contracts.leases import Resource
from pycontainerd.contracts.types import Scope
from pycontainerd_gc import collector as module

from .conftest import digest

EXPIRE, FLAT, ROOT = "containerd.io/gc.expire", "containerd.io/gc.flat", "containerd.io/gc.root"
PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


@pytest.fixture
def image(world):
    """An image of two layers, unpacked, under the name ``i``."""
    world.layer("s1")
    world.layer("s2", "s1")
    layer, config = world.blob("layer"), world.blob("config", ref__snapshot__native="s2")
    manifest = world.blob("manifest", ref__content__config=config, ref__content__l__0=layer)
    world.image("i", manifest)
    return {manifest, config, layer}


def test_what_an_image_needs_stays_and_the_rest_goes_from_records_and_disk(world, image):
    world.layer("other")
    other = world.blob("other")
    result = world.collector.collect()
    assert world.blobs() == image
    assert world.snapshot_names() == {"s1", "s2"}
    assert (result.removed, result.bytes, result.spared) == ({"snapshots": 1, "content": 1}, 5, 0)
    world.images.delete("i")
    assert world.collector.collect().removed == {"snapshots": 2, "content": 3}
    assert (world.blobs(), world.snapshot_names()) == (set(), set())
    world.backend.cleanup()
    assert os.listdir(world.root / "native" / "snapshots") == []
    assert ContentDelete(other) in world.events.seen
    assert SnapshotRemove("s2", "native") in world.events.seen


def test_a_container_keeps_its_snapshot_and_the_layers_below(world, image):
    world.snapshots.prepare("rw", "s2")
    world.container("c", "rw")
    world.images.delete("i")
    world.collector.collect()
    assert (world.blobs(), world.snapshot_names()) == (set(), {"s1", "s2", "rw"})
    world.containers.delete("c")
    world.collector.collect()
    assert world.snapshot_names() == set()


def test_a_lease_keeps_what_it_holds_until_it_is_gone_or_expires(world):
    world.leases.create("l", {EXPIRE: FUTURE})
    world.leases.create("old", {EXPIRE: PAST})
    child = world.blob("child")
    held, let_go = world.blob("held", ref__content=child), world.blob("old")
    world.layer("s")
    for lease, kind, key in (("l", "content", held), ("old", "content", let_go), ("l", "snapshots/native", "s")):
        world.leases.add_resource(lease, Resource(kind, key))
    result = world.collector.collect()
    assert result.removed == {"content": 1, "leases": 1}
    assert (world.blobs(), world.snapshot_names()) == ({held, child}, {"s"})
    assert [lease.id for lease in world.leases.list()] == ["l"]
    world.leases.delete("l")
    world.collector.collect()
    assert (world.blobs(), world.snapshot_names()) == (set(), set())


def test_a_flat_lease_keeps_no_children(world):
    world.leases.create("l", {FLAT: "yes"})
    held = world.blob("held", ref__content=world.blob("child"))
    world.leases.add_resource("l", Resource("content", held))
    world.collector.collect()
    assert world.blobs() == {held}


def test_an_expired_image_goes_with_an_event(world):
    world.image("i", world.blob("x"), {EXPIRE: PAST})
    world.collector.collect()
    assert world.images.list() == []
    assert ImageDelete("i") in world.events.seen


def test_ingests_stay_until_they_expire_or_their_lease_is_gone(world):
    world.leases.create("l")
    for scope, ref in ((Scope("n"), "free"), (Scope("n", "l"), "leased")):
        writer = world.content_service.scoped(scope).writer(ref)
        writer.write(b"half")
        writer.close()
    world.collector.collect()
    assert {status.ref for status in world.content.statuses()} == {"free", "leased"}
    world.leases.delete("l")
    world.database.write(lambda db: db.execute("UPDATE ingests SET expires = 1 WHERE ref = 'free'"))
    assert world.collector.collect().removed == {"ingests": 2}
    assert list(world.content.statuses()) == []
    assert list(world.store.statuses()) == []


def test_bytes_stay_while_another_namespace_has_the_blob(world):
    one = world.blob("x", root="1")
    world.scope = Scope("m")
    assert world.blob("x") == one
    world.collector.collect()
    assert world.store.info(one).size == 1
    with pytest.raises(NotFound):
        world.content.info(one)


def test_bytes_stay_while_an_ingest_is_about_to_share_them(world):
    one = world.blob("x")
    other = world.content_service.scoped(Scope("m"))
    writer = other.writer("ref", total=1, expected=one)
    assert world.collector.collect().removed == {"content": 1}
    assert writer.commit(expected=one).digest == one
    assert other.open(one).read_at(0, 9) == b"x"


@pytest.mark.parametrize("way", ["image", "lease", "label", "container", "parent", "root", "parent label"])
def test_what_is_wanted_after_the_mark_is_spared_with_all_it_leads_to(world, meanwhile, way):
    world.layer("below")
    world.layer("s", "below")
    child = world.blob("child")
    wanted = world.blob("wanted", ref__content=child, ref__snapshot__native="s")
    keeper = world.blob("keeper", root="yes")
    world.leases.create("l")
    acts = {
        "image": lambda: world.image("i", wanted),
        "lease": lambda: world.leases.add_resource("l", Resource("content", wanted)),
        "label": lambda: world.content.update(keeper, {ROOT: "yes", "containerd.io/gc.ref.content": wanted}),
        "container": lambda: world.container("c", "s"),
        "parent": lambda: world.snapshots.prepare("rw", "s"),
        "root": lambda: world.content.update(wanted, {ROOT: "1"}, [f"labels.{ROOT}"]),
        "parent label": lambda: world.snapshots.update("s", {ROOT: "1"}),
    }
    meanwhile(acts[way])
    result = world.collector.collect()
    assert {"below", "s"} <= world.snapshot_names()
    assert result.spared >= 2
    if way not in ("container", "parent", "parent label"):
        assert world.blobs() == {keeper, wanted, child}


def test_what_is_made_anew_under_the_same_name_is_spared(world, meanwhile):
    world.snapshots.prepare("s")

    def again():
        world.snapshots.remove("s")
        world.snapshots.prepare("s", labels={ROOT: "1"})

    meanwhile(again)
    world.collector.collect()
    assert world.snapshot_names() == {"s"}


def test_what_somebody_else_removes_meanwhile_is_no_trouble(world, meanwhile):
    world.layer("s1")
    world.layer("s2", "s1")
    one = world.blob("x")

    def remove():
        world.snapshots.remove("s2")
        world.content.delete(one)

    meanwhile(remove)
    assert world.collector.collect().removed == {"snapshots": 1}
    assert (world.blobs(), world.snapshot_names()) == (set(), set())


class Elsewhere:
    """A back end that keeps its records itself, as one in another process does."""

    def __init__(self, backend) -> None:
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)


def test_a_commit_under_way_keeps_its_snapshot(world, monkeypatch):
    world.open(Elsewhere)
    world.snapshots.prepare("key")
    real = world.backend.commit

    def slow(*args, **kwargs):
        world.collector.collect()
        real(*args, **kwargs)

    monkeypatch.setattr(world.backend, "commit", slow)
    world.snapshots.commit("name", "key", {ROOT: "1"})
    assert world.snapshot_names() == {"name"}


def test_a_snapshot_that_is_being_made_is_no_orphan(world, monkeypatch):
    real = world.backend.prepare

    def slow(*args, **kwargs):
        made = real(*args, **kwargs)
        world.collector.collect()
        return made

    monkeypatch.setattr(world.backend, "prepare", slow)
    world.snapshots.prepare("key", labels={ROOT: "1"})
    assert world.snapshot_names() == {"key"}


def test_what_a_crash_left_at_the_back_ends_goes_with_the_first_collection(world):
    world.backend.prepare("n/77/lost")
    writer = world.store.writer("n/78/lost")
    writer.write(b"lost")
    writer.commit()
    world.store.writer("n/79/open").close()
    world.collector.collect()
    assert list(world.backend.walk()) == []
    assert list(world.store.walk()) == []
    assert list(world.store.statuses()) == []


def test_a_back_end_that_refuses_is_asked_again_and_the_rest_goes_on(world, monkeypatch):
    world.layer("s1")
    one = world.blob("x")
    real = world.backend.remove
    busy = FailedPrecondition("busy")
    monkeypatch.setattr(world.backend, "remove", Mock(side_effect=busy))
    monkeypatch.setattr(world.backend, "remove_many", Mock(side_effect=busy))
    world.collector.collect()
    assert world.blobs() == set()
    assert one not in world.blobs()
    assert len(list(world.backend.walk())) == 1
    monkeypatch.setattr(world.backend, "remove", real)
    world.collector.collect()
    assert list(world.backend.walk()) == []


def test_what_belongs_to_a_service_that_is_not_up_goes_when_it_is(world, monkeypatch):
    world.collector.collect()
    world.layer("s")
    world.blob("x")
    snapshots, content = world.snapshot_service, world.content_service
    monkeypatch.setattr(world, "snapshot_service", None)
    monkeypatch.setattr(world, "content_service", None)
    assert world.collector.collect().removed == {"snapshots": 1, "content": 1}
    assert (len(list(world.backend.walk())), len(list(world.store.walk()))) == (1, 1)
    world.snapshot_service, world.content_service = snapshots, content
    world.collector.collect()
    assert (world.blobs(), world.snapshot_names()) == (set(), set())
    assert list(world.store.walk()) == []


def test_batches_do_not_matter(world, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    for number in range(10):
        world.layer(f"s{number}", f"s{number - 1}" if number else "")
        world.blob(f"b{number}")
    assert world.collector.collect().removed == {"snapshots": 10, "content": 10}
    assert (world.blobs(), world.snapshot_names()) == (set(), set())


def test_changes_are_told_with_whether_they_may_leave_garbage(world):
    world.collector.watch()
    one = world.blob("x")
    world.layer("s")
    world.leases.create("l", {EXPIRE: FUTURE})
    world.leases.add_resource("l", Resource("content", one))
    assert not [change for change in world.changes if change.removed]
    assert {change.node.kind for change in world.changes} >= {"content", "snapshots/native", "leases", "ingests"}
    assert [change.labels for change in world.changes if change.labels] == [{EXPIRE: FUTURE}]
    for act, count in (
        (lambda: world.leases.delete_resource("l", Resource("content", one)), 1),
        (lambda: world.leases.delete("l"), 1),
        (lambda: world.snapshots.remove("s"), 1),
        (lambda: world.content.delete(one), 1),
    ):
        world.changes.clear()
        act()
        assert sum(change.removed for change in world.changes) == count
    world.changes.clear()
    world.blob("garbage")
    world.changes.clear()
    world.collector.collect()
    assert world.changes == []


def test_clients_that_work_all_the_time_lose_nothing(world):
    """Four clients make images and delete them, under leases, while collections run one after the other."""
    stop, failures = threading.Event(), []

    def client(number: int) -> None:
        turn = 0
        try:
            while not stop.is_set():
                turn += 1
                lease = f"l{number}-{turn}"
                world.leases.create(lease)
                mine = attrs.evolve(world.scope, lease=lease)
                content = world.content_service.scoped(mine)
                writer = content.writer(f"r{number}")
                writer.write(f"{number}-{turn % 3}".encode())
                try:
                    one = writer.commit().digest
                except Exception as exc:
                    assert type(exc).__name__ == "AlreadyExists", exc
                    one = digest(f"{number}-{turn % 3}")
                snapshots = world.snapshot_service.scoped(mine, "native")
                key = f"s{number}-{turn}"
                snapshots.prepare(f"{key}-a")
                snapshots.commit(key, f"{key}-a")
                content.update(one, {"containerd.io/gc.ref.snapshot.native": key})
                world.image(f"i{number}", one)
                world.leases.delete(lease)
                assert content.open(one).read_at(0, 9).decode() == f"{number}-{turn % 3}"
                snapshots.stat(key)
                world.images.delete(f"i{number}")
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        world.collector.collect()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    world.collector.collect()
    assert (world.blobs(), world.snapshot_names()) == (set(), set())
