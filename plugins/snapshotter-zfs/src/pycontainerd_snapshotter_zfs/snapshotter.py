"""Snapshots as ZFS datasets, in the Go containerd's layout: ``<dataset>/<id>``, and ``<dataset>/<id>@snapshot`` when committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pycontainerd.contracts.errors import FailedPrecondition, NotImplemented
from pycontainerd.contracts.locks import KeyedLocks
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Holding, Kind, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.snapbase import RecordedSnapshotter
from pycontainerd.sys.snapdirs import SnapshotDirs, numbered

from . import place
from .datasets import Datasets
from .usages import Usages

UNKNOWN = -1
"""ZFS does not count the inodes of a dataset that is not mounted."""


class ZfsSnapshotter(RecordedSnapshotter):
    """See `contracts.snapshots.Snapshotter`. Snapshots are children of ``dataset``."""

    def __init__(self, dataset: str, records: SnapshotRecords) -> None:
        self._datasets = Datasets(dataset)
        self._dirs = SnapshotDirs(self._datasets, records)
        super().__init__(records, self._dirs)
        self._usages = Usages(self._datasets.used)
        self._commits = KeyedLocks()
        self._restore()

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

    def sync(self) -> None:
        """What is committed is on the disk already: taking a ZFS snapshot waits for that."""

    def _is_whole(self, path: str, record: SnapshotRecord) -> bool:
        return self._datasets.exists(path)

    def _build(self, path: str, kind: Kind, parents: Sequence[int], labels: Mapping[str, str]) -> None:
        self._datasets.create(path, parent=parents[0] if parents else None)

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        options = ("ro",) if record.kind is Kind.VIEW else ()
        return (Mount("zfs", self._dirs.path(record.id), options=options),)

    def _measure(self, record: SnapshotRecord) -> Usage:
        return Usage(self._usages.get(record.id), UNKNOWN)


def holdings(root: str) -> Iterator[Holding]:
    """The datasets of the one that is mounted at ``root``, while no daemon runs.

    :raises FailedPrecondition: none is.
    """
    dataset = place.dataset_at(root)
    if dataset is None:
        raise FailedPrecondition(f"no zfs dataset is mounted at {root}")
    datasets = Datasets(dataset)
    for number, name, leftover in numbered(datasets.names()):
        yield Holding(number, datasets.path(name), leftover, partial(datasets.delete, name))
