"""Snapshots as ZFS datasets, in the Go containerd's layout: ``<dataset>/<id>``, and ``<dataset>/<id>@snapshot`` when committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pycontainerd.contracts.errors import FailedPrecondition, NotImplemented
from pycontainerd.contracts.locks import KeyedLocks
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.snapbase import RecordedSnapshotter
from pycontainerd.sys.snapdirs import SnapshotDirs

from .datasets import Datasets
from .usages import Usages

UNKNOWN = -1
"""ZFS does not count the inodes of a dataset that is not mounted."""


class ZfsSnapshotter(RecordedSnapshotter):
    """See `contracts.snapshots.Snapshotter`. Snapshots are children of ``dataset``."""

    def __init__(self, dataset: str, records: SnapshotRecords) -> None:
        super().__init__(records)
        self._datasets = Datasets(dataset)
        self._dirs = SnapshotDirs(self._datasets, records)
        self._usages = Usages(self._datasets.used)
        self._commits = KeyedLocks()

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        with self._commits.hold(key):
            record = self._records.get(key)
            if record.kind is not Kind.ACTIVE:
                raise FailedPrecondition(f"snapshot {quote(key)} is not active but {record.kind.name.lower()}")
            if parent and not record.parents:
                raise NotImplemented(
                    f"cannot put snapshot {quote(key)} on parent {quote(parent)}: a zfs snapshot has all its files in it",
                    hint="prepare it on its parent",
                )
            self._datasets.snapshot(record.id)
            try:
                # After it: taking a ZFS snapshot writes out what was pending, so all is counted.
                self._records.commit(key, name, self._measure(record), labels, parent)
            except BaseException:
                self._datasets.drop_snapshot(record.id)
                raise

    def remove(self, key: str) -> None:
        with self._dirs.remove(self._records.removable(key).id):
            self._records.remove(key)

    def cleanup(self) -> None:
        self._dirs.cleanup()

    def close(self) -> None:
        self._dirs.close()

    def _make(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str]) -> SnapshotRecord:
        planned = self._records.reserve(key, parent)
        with self._dirs.make(planned.id) as dataset:
            self._datasets.create(dataset, parent=planned.parents[0] if planned.parents else None)
            return self._records.create(kind, key, parent, labels, id=planned.id)

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        options = ("ro",) if record.kind is Kind.VIEW else ()
        return (Mount("zfs", self._dirs.path(record.id), options=options),)

    def _measure(self, record: SnapshotRecord) -> Usage:
        return Usage(self._usages.get(record.id), UNKNOWN)
