"""Snapshots as btrfs subvolumes, in the Go containerd's layout: ``<root>/{active,view,snapshots}/<id>``.

An active snapshot is a writable subvolume, a view and a committed one are read-only. Committing takes a read-only
snapshot of the active one, with all its data on the disk, and deletes that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pycontainerd.contracts.errors import FailedPrecondition, NotFound, NotImplemented
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Holding, Kind, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.snapbase import RecordedSnapshotter
from pycontainerd.sys.snapdirs import Folder, SnapshotDirs, numbered

from . import place, subvolumes

_FOLDERS = {Kind.ACTIVE: "active", Kind.VIEW: "view", Kind.COMMITTED: "snapshots"}


class BtrfsSnapshotter(RecordedSnapshotter):
    """See `contracts.snapshots.Snapshotter`. ``device`` is what the file system of ``root`` is mounted from."""

    def __init__(self, root: str, device: str, records: SnapshotRecords) -> None:
        self._device = device
        self._dirs = {
            kind: SnapshotDirs(
                Folder(os.path.join(root, folder), subvolumes.delete), records, kinds=frozenset((kind,)), sync=True
            )
            for kind, folder in _FOLDERS.items()
        }
        super().__init__(records, self._dirs)
        self._restore()

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        record = self._records.get(key)
        if record.kind is not Kind.ACTIVE:
            raise FailedPrecondition(f"snapshot {quote(key)} is not active but {record.kind.name.lower()}")
        if parent and not record.parents:
            raise NotImplemented(
                f"cannot put snapshot {quote(key)} on parent {quote(parent)}: a btrfs snapshot has all its files in it",
                hint="prepare it on its parent",
            )
        active = self._path(record)
        with self._dirs[Kind.COMMITTED].make(record.id) as aside:
            subvolumes.snapshot(active, aside, read_only=True)
            usage = subvolumes.usage(aside, self._since(record))
            with self._dirs[Kind.ACTIVE].remove(record.id):
                self._records.commit(key, name, usage, labels, parent)

    def sync(self) -> None:
        """What is committed is on the disk already: taking a snapshot of a subvolume waits for that."""

    def _build(self, path: str, kind: Kind, parents: Sequence[int], labels: Mapping[str, str]) -> None:
        if parents:
            self._snapshot_parent(parents[0], path, kind)
        else:
            subvolumes.create(path, 0o755)

    def _snapshot_parent(self, number: int, path: str, kind: Kind) -> None:
        source = self._dirs[Kind.COMMITTED].path(number)
        if not subvolumes.is_subvolume(source):
            raise NotFound(
                f"the subvolume {source} of the parent snapshot is gone",
                hint="remove the snapshots on it and unpack the image again",
            )
        subvolumes.snapshot(source, path, read_only=kind is Kind.VIEW)

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        options = [f"subvolid={subvolumes.info(self._path(record)).id}"]
        if record.kind is Kind.VIEW:
            options.append("ro")
        return (Mount("btrfs", self._device, options=tuple(options)),)

    def _measure(self, record: SnapshotRecord) -> Usage:
        return subvolumes.usage(self._path(record), self._since(record))

    def _since(self, record: SnapshotRecord) -> int:
        """The transaction that the active snapshot's own files are newer than; all are its own where it has no parent."""
        return subvolumes.info(self._path(record)).made if record.parents else 0

    def _path(self, record: SnapshotRecord) -> str:
        return self._dirs[record.kind].path(record.id)


def holdings(root: str) -> Iterator[Holding]:
    """The subvolumes below ``root``, while no daemon runs.

    :raises FailedPrecondition: it is not on a btrfs, so what should be there is not mounted.
    """
    mount = place.mount_of(root)
    if mount.fstype != "btrfs":
        raise FailedPrecondition(f"{root} is on {mount.fstype}: the btrfs that snapshots are on is not mounted")
    for folder in _FOLDERS.values():
        base = os.path.join(root, folder)
        if os.path.isdir(base):
            for number, name, leftover in numbered(os.listdir(base)):
                path = os.path.join(base, name)
                yield Holding(number, path, leftover, partial(_delete_unused, path))


def _delete_unused(path: str) -> None:
    """Delete a subvolume, but not from under a container: the kernel would let us."""
    point = place.mounted_at(path)
    if point:
        raise FailedPrecondition(f"cannot delete subvolume {path}: it is mounted at {point}", hint="unmount it first")
    subvolumes.delete(path)
