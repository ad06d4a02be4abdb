"""What all snapshotters with records (`contracts.snapshots.SnapshotRecords`) have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import EMPTY, Mount


class RecordedSnapshotter:
    """The operations of `contracts.snapshots.Snapshotter` that the records answer.

    A subclass makes the files (`_make`), says how they are mounted (`_mounts`) and what they take (`_measure`), and has
    `commit`, `remove`, `cleanup` and `close` of its own.
    """

    def __init__(self, records: SnapshotRecords) -> None:
        self._records = records

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

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        return self._records.walk(filters)

    def _make(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str]) -> SnapshotRecord:
        """Make a snapshot and its record; errors as in `contracts.snapshots.Snapshotter.prepare`."""
        raise NotImplementedError

    def _mounts(self, record: SnapshotRecord) -> Sequence[Mount]:
        """How to mount an active snapshot or a view."""
        raise NotImplementedError

    def _measure(self, record: SnapshotRecord) -> Usage:
        """What an active snapshot takes by now."""
        raise NotImplementedError
