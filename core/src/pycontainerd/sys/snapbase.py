"""What all snapshotters with records (`contracts.snapshots.SnapshotRecords`) have in common."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount

from .snapdirs import SnapshotDirs

log = logging.getLogger("containerd.snapshots")


class RecordedSnapshotter:
    """The operations of `contracts.snapshots.Snapshotter` that the records answer.

    A subclass makes the files (`_build`), says how they are mounted (`_mounts`) and what they take (`_measure`), and has
    `commit` of its own. ``folders`` is where snapshots of each kind are. When it is ready it calls `_restore`.
    """

    def __init__(self, records: SnapshotRecords, folders: SnapshotDirs | Mapping[Kind, SnapshotDirs]) -> None:
        self._records = records
        self._folders = folders if isinstance(folders, Mapping) else dict.fromkeys(Kind, folders)

    def stat(self, key: str) -> SnapshotInfo:
        info = self._records.get(key).info
        assert info is not None
        return info

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        return self._records.update(key, labels, fieldpaths)

    def usage(self, key: str) -> Usage:
        record = self._records.get(key)
        return self._measure(record) if record.kind is Kind.ACTIVE else self._records.usage(key)

    def mounts(self, key: str) -> Sequence[Mount]:
        record = self._records.get(key)
        if record.kind is Kind.COMMITTED:
            raise FailedPrecondition(f"snapshot {quote(key)} is committed: it has no mounts", hint="prepare or view it")
        return self._mounts(record)

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._mounts(self._make(Kind.ACTIVE, key, parent, labels))

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._mounts(self._make(Kind.VIEW, key, parent, labels))

    def remove(self, key: str) -> None:
        record = self._records.removable(key)
        with self._folder(record.kind).remove(record.id):
            self._records.remove(key)

    def remove_many(self, keys: Sequence[str]) -> None:
        """See `contracts.snapshots.BulkRemoving`."""
        with contextlib.ExitStack() as moved:
            for key, number in zip(keys, self._records.removable_many(keys), strict=True):
                moved.enter_context(self._folder_of(key).remove(number))
            self._records.remove_many(keys)

    def cleanup(self) -> None:
        failure: ContainerdError | None = None
        for folder in self._each_folder():
            try:
                folder.cleanup()
            except ContainerdError as exc:
                failure = exc
        if failure is not None:
            raise failure

    def close(self) -> None:
        for folder in self._each_folder():
            folder.close()

    def sync(self) -> None:
        """See `contracts.snapshots.Syncing`."""
        self._folder(Kind.COMMITTED).sync()

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        return self._records.walk(filters)

    def _make(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str]) -> SnapshotRecord:
        planned = self._records.reserve(key, parent)
        with self._folder(kind).make(planned.id) as path:
            self._build(path, kind, planned.parents, labels)
            return self._records.create(kind, key, parent, labels, id=planned.id)

    def _restore(self) -> None:
        """Give active snapshots and views whose tree is gone one as it was when they were made.

        A power cut takes trees that had not reached the disk. What was written to them is lost, the snapshot is not.
        """
        for kind in (Kind.ACTIVE, Kind.VIEW):
            folder = self._folder(kind)
            for number, key in (*folder.missing(), *folder.returned()):
                record = self._records.get(key)
                if record.kind is not kind or record.info is None or self._is_whole(folder.path(number), record):
                    continue
                fields = {"key": key, "path": folder.path(number)}
                try:
                    folder.discard(number)
                    with folder.make(number) as path:
                        self._build(path, kind, record.parents, record.info.labels)
                except (ContainerdError, OSError) as exc:
                    fields["error"] = str(exc)
                    log.warning("the files of a snapshot are gone and cannot be made anew", extra={"fields": fields})
                else:
                    log.warning("the files of a snapshot were gone: it begins anew", extra={"fields": fields})

    def _folder(self, kind: Kind) -> SnapshotDirs:
        """Where snapshots of a kind are."""
        return self._folders[kind]

    def _folder_of(self, key: str) -> SnapshotDirs:
        folders = self._each_folder()
        return folders[0] if len(folders) == 1 else self._folder(self._records.get(key).kind)

    def _each_folder(self) -> list[SnapshotDirs]:
        return list(dict.fromkeys(self._folders.values()))

    def _is_whole(self, path: str, record: SnapshotRecord) -> bool:
        """Whether everything that `_build` makes is at ``path``; where that cannot be told, what is there is not enough."""
        return os.path.lexists(path)

    def _build(self, path: str, kind: Kind, parents: Sequence[int], labels: Mapping[str, str]) -> None:
        """Make the files of a new snapshot at ``path`` on ``parents``, the nearest first.

        Errors as in `contracts.snapshots.Snapshotter.prepare`.
        """
        raise NotImplementedError

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        """How to mount an active snapshot or a view."""
        raise NotImplementedError

    def _measure(self, record: SnapshotRecord) -> Usage:
        """What an active snapshot takes by now."""
        raise NotImplementedError
