"""The snapshotter that copies: slow and large, but it works on every file system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pycontainerd.contracts.errors import FailedPrecondition, NotImplemented
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.snapdirs import SnapshotDirs
from pycontainerd.sys.tree import copy_tree, disk_usage


class NativeSnapshotter:
    """Each snapshot is a full copy under ``<root>/snapshots/<id>``; see `contracts.snapshots.Snapshotter`."""

    def __init__(self, root: str, records: SnapshotRecords) -> None:
        self._records = records
        self._dirs = SnapshotDirs(root, records)

    def stat(self, key: str) -> SnapshotInfo:
        info = self._records.get(key).info
        assert info is not None
        return info

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        return self._records.update(key, labels, fieldpaths)

    def usage(self, key: str) -> Usage:
        record = self._records.get(key)
        return disk_usage(self._dirs.path(record.id)) if record.kind is Kind.ACTIVE else self._records.usage(key)

    def mounts(self, key: str) -> Sequence[Mount]:
        record = self._records.get(key)
        if record.kind is Kind.COMMITTED:
            raise FailedPrecondition(f"snapshot {quote(key)} is committed: it has no mounts", hint="prepare or view it")
        return self._mounts(record)

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(Kind.ACTIVE, key, parent, labels)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(Kind.VIEW, key, parent, labels)

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        record = self._records.get(key)
        if parent and not record.parents:
            raise NotImplemented(
                f"cannot put snapshot {quote(key)} on parent {quote(parent)}: a native snapshot holds a whole copy",
                hint="prepare it on its parent",
            )
        usage = disk_usage(self._dirs.path(record.id)) if record.kind is Kind.ACTIVE else Usage(0, 0)
        self._records.commit(key, name, usage, labels, parent)

    def remove(self, key: str) -> None:
        with self._dirs.remove(self._records.removable(key).id):
            self._records.remove(key)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        return self._records.walk(filters)

    def cleanup(self) -> None:
        self._dirs.cleanup()

    def close(self) -> None:
        self._dirs.close()

    def _create(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str]) -> Sequence[Mount]:
        planned = self._records.reserve(key, parent)
        with self._dirs.make(planned.id, 0o755) as path:
            # A view needs no copy of its own: it is its parent, mounted read-only.
            if kind is Kind.ACTIVE and planned.parents:
                copy_tree(self._dirs.path(planned.parents[0]), path)
            record = self._records.create(kind, key, parent, labels, id=planned.id)
        return self._mounts(record)

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        if record.kind is Kind.ACTIVE:
            return (Mount("bind", self._dirs.path(record.id), options=("rbind", "rw")),)
        source = record.parents[0] if record.parents else record.id
        return (Mount("bind", self._dirs.path(source), options=("rbind", "ro")),)
