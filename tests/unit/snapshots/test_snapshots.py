"""Snapshots in namespaces, and what a crash at any step leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
)
from pycontainerd.contracts.numbers import Numbers
from pycontainerd.contracts.snapshots import Kind
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.snapshots.scoped import TARGET
from pycontainerd.snapshots.snapshots import Snapshots


class Events:
    def __init__(self):
        self.seen = []

    def publish(self, namespace, event):
        self.seen.append(type(event).__name__)


class Crash(BaseException):
    """The daemon dies here."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    yield opened
    opened.close()


@pytest.fixture
def backend(tmp_path, database) -> Iterator[NativeSnapshotter]:
    made = NativeSnapshotter(str(tmp_path / "native"), RecordStore(database).records("native"))
    yield made
    made.close()


@pytest.fixture
def start(database, backend):
    """A service as a daemon that starts has it."""
    return lambda back=None: Snapshots(
        {"native": back or backend}, ("native",), database, Events(), lambda _: "why not"
    )


@pytest.fixture
def scoped(start):
    return start().scoped(Scope("one"), "native")


def rows(database, table):
    return database.read(lambda db: db.execute(f"SELECT * FROM {table}").fetchall())


def test_namespaces_do_not_see_each_other(start):
    service = start()
    one, two = (service.scoped(Scope(name), "") for name in ("one", "two"))
    one.prepare("k")
    one.commit("c", "k")
    two.prepare("k")
    assert [info.name for info in one.walk()] == ["c"]
    assert [info.name for info in two.walk()] == ["k"]
    with pytest.raises(NotFound):
        two.prepare("l", "c")


def test_a_snapshotter_that_is_not_there_says_why(start):
    with pytest.raises(InvalidArgument, match="why not"):
        start().scoped(Scope("one"), "zfs")


def test_back_ends_see_only_the_labels_meant_for_them(scoped, backend):
    labels = {"mine": "1", "containerd.io/snapshot/theirs": "2", TARGET: "t"}
    scoped.prepare("k", "", labels)
    assert dict(scoped.stat("k").labels) == labels
    (inner,) = backend.walk()
    assert dict(inner.labels) == {"containerd.io/snapshot/theirs": "2", TARGET: "t"}


def test_a_target_that_is_there_is_not_prepared_again_but_leased(start, database):
    service = start()
    scoped = service.scoped(Scope("one"), "")
    scoped.prepare("a")
    scoped.commit("target", "a")
    database.write(lambda db: db.execute("INSERT INTO leases VALUES ('one','l','{}',0)"))
    leased = service.scoped(Scope("one", "l"), "")
    with pytest.raises(AlreadyExists, match="target"):
        leased.prepare("b", "", {TARGET: "target"})
    assert rows(database, "lease_resources") == [("one", "l", "snapshots/native", "target")]


def test_leases_follow_a_commit(start, database):
    database.write(lambda db: db.execute("INSERT INTO leases VALUES ('one','l','{}',0)"))
    leased = start().scoped(Scope("one", "l"), "")
    leased.prepare("a")
    leased.commit("c", "a")
    assert rows(database, "lease_resources") == [("one", "l", "snapshots/native", "c")]
    leased.remove("c")
    assert rows(database, "lease_resources") == []


def test_a_back_end_that_has_the_target_gives_it_to_the_namespace(start, backend):
    class Remote:
        def __getattr__(self, name):
            return getattr(backend, name)

        def prepare(self, key, parent="", labels=None):
            backend.prepare(key, parent, labels)
            backend.commit(f"{key}-remote", key, labels)
            raise AlreadyExists("it is on the other side")

    scoped = start(Remote()).scoped(Scope("one"), "")
    with pytest.raises(AlreadyExists, match="from snapshotter"):
        scoped.prepare("k", "", {TARGET: "chain"})
    assert scoped.stat("chain").kind is Kind.COMMITTED
    with pytest.raises(Internal):
        scoped.prepare("k2")


@pytest.mark.parametrize("done", [False, True])
def test_a_commit_that_a_crash_interrupts_is_finished_or_undone_at_the_next_start(start, database, backend, done):
    write = database.write

    def dead(fn):
        raise Crash

    class Crashing:
        def __getattr__(self, name):
            return getattr(backend, name)

        def commit(self, name, key, labels=None, **more):
            if done:
                backend.commit(name, key, labels or {}, **more)
            database.write = dead
            raise Crash

    scoped = start(Crashing()).scoped(Scope("one"), "")
    scoped.prepare("k")
    with pytest.raises(Crash):
        scoped.commit("c", "k", {"a": "b"})
    database.write = write
    assert len(rows(database, "snapshot_commits")) == (0 if done else 1)  # done by both stores at once
    after = start().scoped(Scope("one"), "")
    assert rows(database, "snapshot_commits") == []
    (info,) = after.walk()
    assert (info.name, info.kind) == (("c", Kind.COMMITTED) if done else ("k", Kind.ACTIVE))
    if not done:
        after.commit("c", "k")
    after.remove("c")


def test_a_commit_the_back_end_refuses_changes_nothing(start, database, backend):
    class Refusing:
        def __getattr__(self, name):
            return getattr(backend, name)

        def commit(self, *args, **more):
            raise FailedPrecondition("no")

    scoped = start(Refusing()).scoped(Scope("one"), "")
    scoped.prepare("k")
    with pytest.raises(FailedPrecondition):
        scoped.commit("c", "k")
    assert rows(database, "snapshot_commits") == []
    assert [info.name for info in scoped.walk()] == ["k"]
    scoped.prepare("c")


def test_a_preparation_that_fails_leaves_nothing(scoped, database, backend, tmp_path):
    for arguments in (("", ""), ("k", "missing")):
        with pytest.raises(ContainerdError):
            scoped.prepare(*arguments)
    with pytest.raises(InvalidArgument):
        scoped.prepare("k", "", {"k": "v" * 5000})
    assert rows(database, "snapshots") == rows(database, "snapshot_records") == []
    assert os.listdir(tmp_path / "native/snapshots") == []


def test_a_parent_that_is_not_committed_is_named_as_the_caller_knows_it(scoped):
    scoped.prepare("busy")
    with pytest.raises(InvalidArgument) as caught:
        scoped.prepare("next", "busy")
    assert str(caught.value) == 'parent "busy" is not a committed snapshot (commit it)'


def test_only_preparations_commits_and_removals_are_told(start):
    service = start()
    scoped = service.scoped(Scope("one"), "")
    scoped.prepare("k")
    scoped.commit("c", "k")
    scoped.view("v", "c")
    scoped.remove("v")
    assert service.events.seen == ["SnapshotPrepare", "SnapshotCommit", "SnapshotRemove"]


def test_what_a_crash_left_beside_the_records_is_cleaned_at_the_next_start(database, backend, tmp_path):
    backend.prepare("k")
    base = tmp_path / "native/snapshots"
    (number,) = os.listdir(base)
    os.rename(base / number, base / f"rm.{number}")  # died before the record was removed
    (base / "new.77").mkdir()  # died before the record was made
    (base / "new.77" / "file").touch()
    (base / "99").mkdir()  # of somebody else
    again = NativeSnapshotter(str(tmp_path / "native"), RecordStore(database).records("native"))
    again.cleanup()
    assert sorted(os.listdir(base)) == sorted([number, "99"])
    again.prepare("l")
    assert max(int(name) for name in os.listdir(base)) > 99
    again.close()


def test_numbers_are_never_given_twice(database):
    first, second = Numbers(database, "n"), Numbers(database, "n")
    found = [numbers.next() for _ in range(100) for numbers in (first, second)]
    assert len(set(found)) == 200
    assert Numbers(database, "n").next() > max(found)


@pytest.mark.parametrize("parents", [0, 1, 2])
def test_overlay_mounts_are_those_of_the_go_containerd(tmp_path, database, parents):
    from pycontainerd_snapshotter_overlay.snapshotter import OverlaySnapshotter

    made = OverlaySnapshotter(str(tmp_path), RecordStore(database).records("overlayfs"), options=("index=off",))
    parent = ""
    for number in range(parents):
        made.prepare("k", parent)
        made.commit(f"c{number}", "k")
        parent = f"c{number}"
    base = f"{tmp_path}/snapshots"
    lower = ":".join(f"{base}/{number}/fs" for number in range(parents, 0, -1))
    (active,) = made.prepare("a", parent)
    (view,) = made.view("v", parent)
    upper, seen = parents + 1, parents + 2
    if parents == 0:
        assert (active.type, active.source, list(active.options)) == ("bind", f"{base}/{upper}/fs", ["rw", "rbind"])
        assert (view.type, view.source, list(view.options)) == ("bind", f"{base}/{seen}/fs", ["ro", "rbind"])
        return
    assert (active.type, active.source) == ("overlay", "overlay")
    assert list(active.options) == [
        f"workdir={base}/{upper}/work",
        f"upperdir={base}/{upper}/fs",
        f"lowerdir={lower}",
        "index=off",
    ]
    if parents == 1:
        assert (view.type, view.source, list(view.options)) == ("bind", f"{base}/1/fs", ["ro", "rbind"])
    else:
        assert (view.type, list(view.options)) == ("overlay", [f"lowerdir={lower}", "index=off"])
