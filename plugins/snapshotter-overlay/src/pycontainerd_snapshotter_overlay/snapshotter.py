"""Snapshots as overlayfs layers, in the Go containerd's layout: ``<root>/snapshots/<id>/{fs,work}``.

A snapshot's own changes are in ``fs``; mounting stacks the ``fs`` of its parents below it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import attrs

from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.snapbase import RecordedSnapshotter
from pycontainerd.sys.snapdirs import Folder, SnapshotDirs, make_directory
from pycontainerd.sys.tree import disk_usage

from . import owners, volatile

VOLATILE = frozenset(("volatile", "fsync=volatile"))
UPPERDIR_LABEL = "containerd.io/snapshot/overlay.upperdir"


class OverlaySnapshotter(RecordedSnapshotter):
    """See `contracts.snapshots.Snapshotter`. ``options`` are added to every overlay mount.

    ``remap``: whether the labels that map owners (`owners`) become options of mounts.
    """

    def __init__(
        self,
        root: str,
        records: SnapshotRecords,
        *,
        options: Sequence[str] = (),
        upperdir_label: bool = False,
        sync_remove: bool = False,
        remap: bool = False,
    ) -> None:
        self._dirs = SnapshotDirs(Folder(os.path.join(root, "snapshots")), records, sync=sync_remove)
        super().__init__(records, self._dirs)
        self._options = tuple(options)
        self._upperdir_label = upperdir_label
        self._remap = remap
        self._volatile = not VOLATILE.isdisjoint(options)
        self._restore()

    def stat(self, key: str) -> SnapshotInfo:
        return self._info(self._records.get(key))

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        self._records.update(key, labels, fieldpaths)
        return self.stat(key)

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        record = self._records.get(key)
        usage = self._measure(record) if record.kind is Kind.ACTIVE else Usage(0, 0)
        self._records.commit(key, name, usage, labels, parent)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        if not self._upperdir_label:
            yield from self._records.walk(filters)
            return
        numbers = {key: number for number, key in self._records.ids().items()}
        for info in self._records.walk(filters):
            if info.name in numbers:
                yield self._labelled(info, numbers[info.name])

    def _is_whole(self, path: str, record: SnapshotRecord) -> bool:
        names = ("fs", "work") if record.kind is Kind.ACTIVE else ("fs",)
        return all(os.path.isdir(f"{path}/{name}") for name in names)

    def _build(self, path: str, kind: Kind, parents: Sequence[int], labels: Mapping[str, str]) -> None:
        mapping = owners.mapping(labels)
        make_directory(path, 0o700)
        self._fill(path, kind, parents)
        if mapping is not None:
            os.chown(os.path.join(path, "fs"), *mapping.root())

    def _measure(self, record: SnapshotRecord) -> Usage:
        return disk_usage(self._fs(record.id))

    def _fill(self, path: str, kind: Kind, parents: Sequence[int]) -> None:
        changes = os.path.join(path, "fs")
        make_directory(changes, 0o755)
        if kind is Kind.ACTIVE:
            os.mkdir(os.path.join(path, "work"), 0o711)
        if not parents:
            return
        # The root directory of the stack is this one: it starts with the owner and mode of the layer below.
        try:
            below = os.stat(self._fs(parents[0]))
        except FileNotFoundError:
            raise NotFound(
                f"the directory {self._fs(parents[0])} of the parent snapshot is gone",
                hint="remove the snapshots on it and unpack the image again",
            ) from None
        os.chown(changes, below.st_uid, below.st_gid)
        os.chmod(changes, below.st_mode & 0o7777)

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        """The options stand in the order in which the Go containerd gives them."""
        access = "ro" if record.kind is Kind.VIEW else "rw"
        assert record.info is not None
        options = owners.options(record.info.labels) if self._remap else []
        if not record.parents:
            return (Mount("bind", self._fs(record.id), options=(*options, access, "rbind")),)
        if record.kind is Kind.VIEW and len(record.parents) == 1:
            return (Mount("bind", self._fs(record.parents[0]), options=(*options, "ro", "rbind")),)
        if record.kind is Kind.ACTIVE:
            if self._volatile:
                volatile.clear(f"{self._dirs.path(record.id)}/work")
            options += [f"workdir={self._dirs.path(record.id)}/work", f"upperdir={self._fs(record.id)}"]
        options.append("lowerdir=" + ":".join(self._fs(number) for number in record.parents))
        return (Mount("overlay", "overlay", options=(*options, *self._options)),)

    def _info(self, record: SnapshotRecord) -> SnapshotInfo:
        assert record.info is not None
        return self._labelled(record.info, record.id) if self._upperdir_label else record.info

    def _labelled(self, info: SnapshotInfo, number: int) -> SnapshotInfo:
        return attrs.evolve(info, labels={**info.labels, UPPERDIR_LABEL: self._fs(number)})

    def _fs(self, number: int) -> str:
        return os.path.join(self._dirs.path(number), "fs")
