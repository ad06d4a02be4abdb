"""Snapshots as overlayfs layers, in the Go containerd's layout: ``<root>/snapshots/<id>/{fs,work}``.

A snapshot's own changes are in ``fs``; mounting stacks the ``fs`` of its parents below it. Removal renames the directory
aside, which is at once and cannot half-happen, and deletes later.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import attrs

from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount
from pycontainerd.sys.mount import remove_tree
from pycontainerd.sys.tree import disk_usage

UPPERDIR_LABEL = "containerd.io/snapshot/overlay.upperdir"
_REMOVED = "rm-"


class OverlaySnapshotter:
    """See `contracts.snapshots.Snapshotter`. ``options`` are added to every overlay mount."""

    def __init__(
        self, root: str, records: SnapshotRecords, *, options: Sequence[str] = (), upperdir_label: bool = False
    ) -> None:
        self._root = os.path.join(root, "snapshots")
        self._records = records
        self._options = tuple(options)
        self._upperdir_label = upperdir_label
        os.makedirs(self._root, mode=0o700, exist_ok=True)

    def stat(self, key: str) -> SnapshotInfo:
        return self._info(self._records.get(key))

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        self._records.update(key, labels, fieldpaths)
        return self.stat(key)

    def usage(self, key: str) -> Usage:
        record = self._records.get(key)
        return disk_usage(self._fs(record.id)) if record.kind is Kind.ACTIVE else self._records.usage(key)

    def mounts(self, key: str) -> Sequence[Mount]:
        return self._mounts(self._records.get(key))

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(Kind.ACTIVE, key, parent, labels)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(Kind.VIEW, key, parent, labels)

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        record = self._records.get(key)
        if parent and record.parents:
            raise InvalidArgument(f"snapshot {key} has a parent already, it cannot be put on {parent}")
        self._records.commit(key, name, disk_usage(self._fs(record.id)), labels, parent)

    def remove(self, key: str) -> None:
        record = self._records.remove(key)
        path = self._path(record.id)
        aside = os.path.join(self._root, f"{_REMOVED}{record.id}")
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return  # a crash had removed it before its record
        remove_tree(aside)

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
        try:
            self._make(record)
        except BaseException:
            self._records.remove(key)
            remove_tree(self._path(record.id))
            raise
        return self._mounts(record)

    def _make(self, record: SnapshotRecord) -> None:
        os.mkdir(self._path(record.id), 0o700)
        os.mkdir(self._fs(record.id), 0o755)
        if record.kind is Kind.ACTIVE:
            os.mkdir(os.path.join(self._path(record.id), "work"), 0o711)
        if record.parents:
            # The root directory of the stack is this one: it starts with the owner and mode of the layer below.
            try:
                below = os.stat(self._fs(record.parents[0]))
            except FileNotFoundError:
                raise NotFound(
                    f"the directory of parent snapshot {record.parents[0]} is gone from {self._root}",
                    hint="unpack the image again",
                ) from None
            os.chown(self._fs(record.id), below.st_uid, below.st_gid)
            os.chmod(self._fs(record.id), below.st_mode & 0o7777)

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        access = "ro" if record.kind is Kind.VIEW else "rw"
        if not record.parents:
            return (Mount("bind", self._fs(record.id), options=(access, "rbind")),)
        if record.kind is Kind.VIEW and len(record.parents) == 1:
            return (Mount("bind", self._fs(record.parents[0]), options=("ro", "rbind")),)
        options = list(self._options)
        if record.kind is Kind.ACTIVE:
            options += [f"workdir={self._path(record.id)}/work", f"upperdir={self._fs(record.id)}"]
        options.append("lowerdir=" + ":".join(self._fs(number) for number in record.parents))
        return (Mount("overlay", "overlay", options=tuple(options)),)

    def _info(self, record: SnapshotRecord) -> SnapshotInfo:
        assert record.info is not None
        if not self._upperdir_label:
            return record.info
        return attrs.evolve(record.info, labels={**record.info.labels, UPPERDIR_LABEL: self._fs(record.id)})

    def _path(self, number: int) -> str:
        return os.path.join(self._root, str(number))

    def _fs(self, number: int) -> str:
        return os.path.join(self._path(number), "fs")
