"""The native, the overlay, the btrfs and the zfs snapshotter, bare and as a namespace sees them, in the suite for all snapshotters."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pycontainerd.contracts.snapshots import Snapshotter
from pycontainerd.contracts.types import Mount, Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.snapshots.snapshots import Snapshots
from pycontainerd.sys.mount import remove_tree
from pycontainerd.sys.mountinfo import read_mountinfo
from pycontainerd.testing import zfs
from pycontainerd.testing.filesystems import loop, run
from pycontainerd.testing.snapshotters import SnapshotterSuite
from pycontainerd_snapshotter_btrfs import place
from pycontainerd_snapshotter_btrfs.snapshotter import BtrfsSnapshotter
from pycontainerd_snapshotter_overlay import probe
from pycontainerd_snapshotter_overlay.snapshotter import OverlaySnapshotter
from pycontainerd_snapshotter_zfs.snapshotter import ZfsSnapshotter


@pytest.fixture
def area() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    yield path
    remove_tree(path)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    yield opened
    opened.close()


class NoEvents:
    def publish(self, namespace: str, event: object) -> None:
        """Nobody listens."""


class TestNative(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, area: str, database: SqliteDatabase) -> Iterator[Snapshotter]:
        made = NativeSnapshotter(area, RecordStore(database).records("native"))
        yield made
        made.close()
        made.cleanup()


class TestOverlay(SnapshotterSuite):
    rebases = True

    @pytest.fixture
    def snapshotter(self, area: str, database: SqliteDatabase) -> Iterator[Snapshotter]:
        probe.check(area)
        made = OverlaySnapshotter(area, RecordStore(database).records("overlayfs"), options=("index=off",))
        yield made
        made.close()
        made.cleanup()


class TestNamespacedOverlay(SnapshotterSuite):
    rebases = True

    @pytest.fixture
    def snapshotter(self, area: str, database: SqliteDatabase) -> Iterator[Snapshotter]:
        probe.check(area)
        made = OverlaySnapshotter(area, RecordStore(database).records("overlayfs"), options=("index=off",))
        service = Snapshots({"overlayfs": made}, ("overlayfs",), database, NoEvents(), str)
        yield service.scoped(Scope("suite"), "")
        made.close()
        made.cleanup()


@pytest.fixture(scope="module")
def btrfs() -> Iterator[str]:
    with loop("btrfs") as path:
        yield path


class TestBtrfs(SnapshotterSuite):
    @pytest.fixture
    def snapshotter(self, btrfs: str, database: SqliteDatabase) -> Iterator[Snapshotter]:
        root = tempfile.mkdtemp(prefix="root-", dir=btrfs)
        made = BtrfsSnapshotter(root, place.check(root), RecordStore(database).records("btrfs"))
        yield made
        made.close()
        made.cleanup()


@pytest.fixture(scope="module")
def pool() -> Iterator[zfs.Pool]:
    with zfs.pool() as made:
        yield made


class TestZfs(SnapshotterSuite):
    counts_inodes = False

    @pytest.fixture
    def snapshotter(self, pool: zfs.Pool, database: SqliteDatabase) -> Iterator[Snapshotter]:
        dataset = f"{pool.dataset}/{uuid.uuid4().hex[:8]}"
        run("zfs", "create", "-o", "mountpoint=none", dataset)
        made = ZfsSnapshotter(dataset, RecordStore(database).records("zfs"))
        yield made
        made.close()
        made.cleanup()
        run("zfs", "destroy", "-R", dataset)

    def mounted(self, mounts: Sequence[Mount]) -> AbstractContextManager[str]:
        return zfs.mounted(mounts)

    def flush(self, root: str) -> None:
        """A pool writes out what it has when a snapshot is taken (fsync goes to its log, which `used` does not count)."""
        name = f"{next(one.source for one in read_mountinfo() if one.point == root)}@flush"
        run("zfs", "snapshot", name)
        run("zfs", "destroy", name)
