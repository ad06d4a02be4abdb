"""The snapshotter that copies: slow and large, but it works on every file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.fs import fsync_dir
from pycontainerd.sys.mount import remove_tree
from pycontainerd.sys.tree import copy_tree, disk_usage


class NativeSnapshotter:
    """Each snapshot is a full copy under ``<root>/snapshots/<id>``; see `contracts.snapshots.Snapshotter`."""

    def __init__(self, root: str, records: SnapshotRecords) -> None:
        self._root = os.path.join(root, "snapshots")
        self._records = records
        os.makedirs(self._root, mode=0o700, exist_ok=True)

    def stat(self, key: str) -> SnapshotInfo:
        info = self._records.get(key).info
        assert info is not None
        return info

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        return self._records.update(key, labels, fieldpaths)

    def usage(self, key: str) -> Usage:
        record = self._records.get(key)
        return disk_usage(self._path(record.id)) if record.kind is Kind.ACTIVE else self._records.usage(key)

    def mounts(self, key: str) -> Sequence[Mount]:
        return self._mounts(self._records.get(key))

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(Kind.ACTIVE, key, parent, labels)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(Kind.VIEW, key, parent, labels)

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        del parent  # a copy has all of it already
        record = self._records.get(key)
        self._records.commit(key, name, disk_usage(self._path(record.id)), labels)

    def remove(self, key: str) -> None:
        record = self._records.remove(key)
        remove_tree(self._path(record.id))

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        return self._records.walk(filters)

    def cleanup(self) -> None:
        used = self._records.ids()
        for name in os.listdir(self._root):
            if not name.isdigit() or int(name) not in used:
                remove_tree(os.path.join(self._root, name))

    def close(self) -> None:
        """Nothing is held open."""

    def _create(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str]) -> Sequence[Mount]:
        record = self._records.create(kind, key, parent, labels)
        path = self._path(record.id)
        # A view of a snapshot needs no copy of its own: it is that snapshot, mounted read-only.
        if kind is Kind.ACTIVE or not record.parents:
            try:
                os.mkdir(path, 0o755)
                if record.parents:
                    copy_tree(self._path(record.parents[0]), path)
                fsync_dir(self._root)
            except BaseException:
                self._records.remove(key)
                remove_tree(path)
                raise
        return self._mounts(record)

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        if record.kind is Kind.ACTIVE:
            return (Mount("bind", self._path(record.id), options=("rbind", "rw")),)
        source = record.parents[0] if record.kind is Kind.VIEW and record.parents else record.id
        return (Mount("bind", self._path(source), options=("rbind", "ro")),)

    def _path(self, number: int) -> str:
        return os.path.join(self._root, str(number))
