"""What was committed gets to the disk, and what did not get there in time is not trusted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import DataLoss, NotFound
from pycontainerd.contracts.snapshots import Snapshotter
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots import scoped, suspects
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.snapshots.snapshots import Snapshots
from pycontainerd.sys.boot import boot_id

SCOPE = Scope("ns")
ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")


class Nobody:
    """An event bus that nobody listens to."""

    def publish(self, namespace: str, event: object) -> None:
        pass


class Disk(NativeSnapshotter):
    """Counts syncs, and fails or waits in them when told to."""

    syncs = 0
    error: OSError | None = None
    gate: threading.Event | None = None

    def sync(self) -> None:
        if self.gate is not None:
            self.gate.wait(30)
        self.syncs += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail)
    yield opened
    opened.close()


@pytest.fixture
def disk(database: SqliteDatabase, tmp_path: Path) -> Iterator[Disk]:
    backend = Disk(str(tmp_path / "native"), RecordStore(database).records("native"))
    yield backend
    backend.close()


def service(database: SqliteDatabase, disk: Disk) -> Snapshots:
    return Snapshots({"native": disk}, ("native",), database, Nobody(), lambda name: name)


def layer(store: Snapshotter, chain_id: str, parent: str = "") -> None:
    store.prepare("extract", parent)
    store.commit(chain_id, "extract")


def unsynced(database: SqliteDatabase) -> list[str]:
    found = database.read(lambda db: db.execute("SELECT name FROM snapshot_syncs ORDER BY committed").fetchall())
    return [name.split("/", 2)[2] for (name,) in found]


def reboot(database: SqliteDatabase) -> None:
    """What is recorded now was in another boot."""
    database.write(lambda db: db.execute("UPDATE snapshot_syncs SET boot = 'another'"))


def test_a_commit_is_recorded_with_its_boot_until_it_is_on_disk(database: SqliteDatabase, disk: Disk) -> None:
    snapshots = service(database, disk)
    disk.gate = threading.Event()
    layer(snapshots.scoped(SCOPE, ""), ONE)
    assert database.read(lambda db: db.execute("SELECT boot FROM snapshot_syncs").fetchall()) == [(boot_id(),)]
    disk.gate.set()
    snapshots.flush()
    assert unsynced(database) == []
    assert disk.syncs >= 1


def test_commits_share_a_sync(database: SqliteDatabase, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycontainerd.snapshots.syncs.PAUSE", 30)
    snapshots = service(database, disk)
    store = snapshots.scoped(SCOPE, "")
    for number in range(10):
        layer(store, f"sha256:{number:064}")
    snapshots.flush()
    assert disk.syncs == 1
    snapshots.flush()
    assert disk.syncs == 1


def test_without_a_flush_it_gets_there_too(database: SqliteDatabase, disk: Disk) -> None:
    snapshots = service(database, disk)
    layer(snapshots.scoped(SCOPE, ""), ONE)
    thread = snapshots.syncs._thread
    assert thread is not None
    thread.join(30)
    assert unsynced(database) == []
    assert snapshots.syncs._thread is None


def test_a_disk_that_fails_is_told_to_who_waits_and_the_commit_stays_suspect(
    database: SqliteDatabase, disk: Disk
) -> None:
    snapshots = service(database, disk)
    disk.error = OSError(5, "Input/output error")
    layer(snapshots.scoped(SCOPE, ""), ONE)
    with pytest.raises(DataLoss, match="Input/output error"):
        snapshots.flush()
    assert unsynced(database) == [ONE]
    disk.error = None
    snapshots.flush()
    assert unsynced(database) == []


def test_a_commit_during_a_sync_is_not_taken_for_synced(database: SqliteDatabase, disk: Disk) -> None:
    snapshots = service(database, disk)
    store = snapshots.scoped(SCOPE, "")
    disk.gate = threading.Event()
    layer(store, ONE)
    flusher = threading.Thread(target=snapshots.flush)
    flusher.start()
    layer(store, TWO)
    disk.gate.set()
    flusher.join(30)
    snapshots.flush()
    assert unsynced(database) == []
    assert disk.syncs == 2


def test_after_the_power_was_off_layers_that_were_not_on_disk_are_gone(database: SqliteDatabase, disk: Disk) -> None:
    snapshots = service(database, disk)
    store = snapshots.scoped(SCOPE, "")
    layer(store, ONE)
    snapshots.flush()
    disk.error = OSError(5, "x")
    layer(store, TWO, ONE)
    layer(store, THREE, TWO)
    with pytest.raises(DataLoss):
        snapshots.flush()
    reboot(database)
    store = service(database, disk).scoped(SCOPE, "")
    assert [info.name for info in store.walk()] == [ONE]
    assert len(list(disk.walk())) == 1
    assert unsynced(database) == []


def test_what_a_container_is_based_on_stays_and_stays_suspect(database: SqliteDatabase, disk: Disk) -> None:
    snapshots = service(database, disk)
    store = snapshots.scoped(SCOPE, "")
    disk.error = OSError(5, "x")
    layer(store, ONE)
    layer(store, TWO, ONE)
    layer(store, THREE, ONE)
    store.prepare("container", TWO)
    with pytest.raises(DataLoss):
        snapshots.flush()
    reboot(database)
    disk.error = None
    again = service(database, disk)
    assert sorted(info.name for info in again.scoped(SCOPE, "").walk()) == ["container", *sorted((ONE, TWO))]
    again.flush()
    assert unsynced(database) == [ONE, TWO]
    assert len(database.read(lambda db: suspects.suspects(db, "native"))) == 2


def test_what_is_no_layer_cannot_be_made_again_and_stays(database: SqliteDatabase, disk: Disk) -> None:
    snapshots = service(database, disk)
    disk.error = OSError(5, "x")
    layer(snapshots.scoped(SCOPE, ""), "my work")
    with pytest.raises(DataLoss):
        snapshots.flush()
    reboot(database)
    assert service(database, disk).scoped(SCOPE, "").stat("my work").name == "my work"


def test_a_crash_of_the_daemon_alone_costs_nothing(database: SqliteDatabase, disk: Disk) -> None:
    """The kernel still has what was written; it is synced by the next daemon."""
    snapshots = service(database, disk)
    disk.error = OSError(5, "x")
    layer(snapshots.scoped(SCOPE, ""), ONE)
    with pytest.raises(DataLoss):
        snapshots.flush()
    disk.error = None
    again = service(database, disk)
    assert again.scoped(SCOPE, "").stat(ONE).name == ONE
    thread = again.syncs._thread
    if thread is not None:
        thread.join(30)
    assert unsynced(database) == []


def test_a_commit_that_a_crash_interrupted_is_suspect_too(
    database: SqliteDatabase, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoped, "RecordedSnapshotter", type(None))  # a back end with records of its own
    snapshots = service(database, disk)
    store = snapshots.scoped(SCOPE, "")
    store.prepare("extract")

    def commit(name: str, *_: object, **__: object) -> None:
        raise SystemExit

    disk.gate = threading.Event()
    genuine = disk.commit
    disk.commit = commit  # type: ignore[method-assign,assignment]
    table = store._table  # type: ignore[attr-defined]
    store._abandon = lambda db, plan: None  # type: ignore[attr-defined]
    with pytest.raises(SystemExit):
        store.commit(ONE, "extract")
    disk.commit = genuine  # type: ignore[method-assign]

    def plan(db: sqlite3.Connection) -> str:
        return str(db.execute("SELECT name FROM snapshot_commits").fetchone()[0])

    active = database.read(lambda db: table.get(db, "extract")).name
    disk.commit(database.read(plan), active)
    reboot(database)
    disk.gate.set()
    with pytest.raises(NotFound):
        service(database, disk).scoped(SCOPE, "").stat(ONE)
