"""Copies made by ``cp --reflink``: on btrfs, XFS and bcachefs they cost no space until something in them changes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from pycontainerd.contracts import errors
from pycontainerd.contracts.snapshots import Kind, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.snapbase import RecordedSnapshotter
from pycontainerd.sys.snapdirs import Folder, SnapshotDirs, make_directory
from pycontainerd.sys.tree import disk_usage


class ReflinkSnapshotter(RecordedSnapshotter):
    """See `contracts.snapshots.Snapshotter`."""

    def __init__(self, root: str, records: SnapshotRecords, program: str) -> None:
        self._program = program
        self._dirs = SnapshotDirs(Folder(os.path.join(root, "snapshots")), records)
        super().__init__(records, self._dirs)
        self._restore()

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        record = self._records.get(key)
        if parent and not record.parents:
            raise errors.NotImplemented(f"snapshot {key!r} cannot get a parent when it is committed")
        usage = self._measure(record) if record.kind is Kind.ACTIVE else Usage(0, 0)
        self._records.commit(key, name, usage, labels, parent)

    def _build(self, path: str, kind: Kind, parents: Sequence[int], labels: Mapping[str, str]) -> None:
        if parents and kind is Kind.ACTIVE:
            self._copy(self._dirs.path(parents[0]), path)
        else:
            make_directory(path, 0o755)

    def _copy(self, source: str, target: str) -> None:
        command = [self._program, "--archive", "--reflink=auto", "--no-target-directory", source, target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise errors.Internal(f"cannot copy {source}: {done.stderr.strip() or f'status {done.returncode}'}")

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        if record.kind is Kind.ACTIVE:
            return (Mount("bind", self._dirs.path(record.id), options=("rbind", "rw")),)
        shown = record.parents[0] if record.parents else record.id
        return (Mount("bind", self._dirs.path(shown), options=("rbind", "ro")),)

    def _measure(self, record: SnapshotRecord) -> Usage:
        return disk_usage(self._dirs.path(record.id))
