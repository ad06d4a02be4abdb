"""Operations on snapshots are one durable commit each, and all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import FailedPrecondition, NotFound
from pycontainerd.contracts.snapshots import Snapshotter
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.snapshots.snapshots import Snapshots


class Nobody:
    """An event bus that nobody listens to."""

    def publish(self, namespace: str, event: object) -> None:
        pass


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail)
    yield opened
    opened.close()


@pytest.fixture
def backend(database: SqliteDatabase, tmp_path: Path) -> Iterator[NativeSnapshotter]:
    backend = NativeSnapshotter(str(tmp_path / "native"), RecordStore(database).records("native"))
    yield backend
    backend.close()


@pytest.fixture
def service(database: SqliteDatabase, backend: NativeSnapshotter) -> Snapshots:
    return Snapshots({"native": backend}, ("native",), database, Nobody(), lambda name: name)


@pytest.fixture
def store(service: Snapshots) -> Snapshotter:
    store = service.scoped(Scope("ns"), "")
    store.prepare("warm")  # numbers are taken by the block
    return store


def test_each_operation_is_one_commit(database: SqliteDatabase, service: Snapshots, store: Snapshotter) -> None:
    before = database.commits
    store.prepare("a")
    assert database.commits == before + 1
    store.commit("layer", "a")
    service.flush()
    before = database.commits
    store.prepare("b", "layer")
    store.remove("b")
    assert database.commits == before + 2


def test_a_lease_that_is_gone_leaves_nothing_half_made(
    service: Snapshots, backend: NativeSnapshotter, store: Snapshotter, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="lease"):
        service.scoped(Scope("ns", "none"), "").prepare("a")
    assert [info.name for info in store.walk()] == ["warm"]
    assert len(list(backend.walk())) == 1
    assert len(list((tmp_path / "native" / "snapshots").iterdir())) == 1


def test_a_commit_that_cannot_be_recorded_is_none(service: Snapshots, store: Snapshotter) -> None:
    with pytest.raises(NotFound, match="lease"):
        service.scoped(Scope("ns", "none"), "").commit("layer", "warm")
    assert store.stat("warm").kind.name == "ACTIVE"
    store.commit("layer", "warm")


def test_a_removal_that_is_refused_removes_nothing(store: Snapshotter, tmp_path: Path) -> None:
    store.commit("layer", "warm")
    store.prepare("child", "layer")
    with pytest.raises(FailedPrecondition, match="child"):
        store.remove("layer")
    assert store.stat("layer").name == "layer"
    assert len(list((tmp_path / "native" / "snapshots").iterdir())) == 2


def test_a_row_whose_snapshot_went_in_a_crash_can_be_removed(store: Snapshotter, database: SqliteDatabase) -> None:
    database.write(lambda db: db.execute("DELETE FROM snapshot_records"))
    store.remove("warm")
    assert list(store.walk()) == []


def test_a_snapshot_that_fails_after_its_record_was_made_has_no_row(
    store: Snapshotter, backend: NativeSnapshotter, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(backend._dirs._trees, "rename", fail)
    with pytest.raises(OSError, match="Input/output"):
        store.prepare("a")
    rows = database.read(lambda db: db.execute("SELECT key FROM snapshots ORDER BY key").fetchall())
    assert rows == [("warm",)]
