"""The snapshotter that copies: slow and large, but it works on every file system."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pycontainerd.contracts.errors import NotImplemented
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.snapbase import RecordedSnapshotter
from pycontainerd.sys.snapdirs import Folder, SnapshotDirs, make_directory
from pycontainerd.sys.tree import copy_tree, disk_usage


class NativeSnapshotter(RecordedSnapshotter):
    """Each snapshot is a full copy under ``<root>/snapshots/<id>``; see `contracts.snapshots.Snapshotter`."""

    def __init__(self, root: str, records: SnapshotRecords) -> None:
        self._dirs = SnapshotDirs(Folder(os.path.join(root, "snapshots")), records)
        super().__init__(records, self._dirs)
        self._restore()

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        record = self._records.get(key)
        if parent and not record.parents:
            raise NotImplemented(
                f"cannot put snapshot {quote(key)} on parent {quote(parent)}: a native snapshot holds a whole copy",
                hint="prepare it on its parent",
            )
        usage = self._measure(record) if record.kind is Kind.ACTIVE else Usage(0, 0)
        self._records.commit(key, name, usage, labels, parent)

    def _is_whole(self, path: str, record: SnapshotRecord) -> bool:
        return super()._is_whole(path, record) and not record.parents  # a copy has no end that one could look for

    def _build(self, path: str, kind: Kind, parents: Sequence[int], labels: Mapping[str, str]) -> None:
        make_directory(path, 0o755)
        # A view needs no copy of its own: it is its parent, mounted read-only.
        if kind is Kind.ACTIVE and parents:
            copy_tree(self._dirs.path(parents[0]), path)

    def _measure(self, record: SnapshotRecord) -> Usage:
        return disk_usage(self._dirs.path(record.id))

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        if record.kind is Kind.ACTIVE:
            return (Mount("bind", self._dirs.path(record.id), options=("rbind", "rw")),)
        source = record.parents[0] if record.parents else record.id
        return (Mount("bind", self._dirs.path(source), options=("rbind", "ro")),)
