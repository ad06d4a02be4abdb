"""The durable records of snapshotters, in the metadata database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts import rows
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.numbers import Numbers
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import now

from . import joint

_SELECT = (
    "SELECT s.id, s.key, s.kind, coalesce(p.key, ''), s.labels, s.created, s.updated, s.parent"
    " FROM snapshot_records s LEFT JOIN snapshot_records p ON p.id = s.parent WHERE s.snapshotter = ?"
)
_PAGE = 500


class RecordStore:
    """`contracts.snapshots.SnapshotRecordStore` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = Numbers(database, "snapshot-id")

    def records(self, snapshotter: str) -> SnapshotRecords:
        return Records(self._database, self._numbers, snapshotter)


class Records:
    """See `contracts.snapshots.SnapshotRecords`."""

    def __init__(self, database: Database, numbers: Numbers, snapshotter: str) -> None:
        self._database = database
        self._numbers = numbers
        self._name = snapshotter

    def get(self, key: str) -> SnapshotRecord:
        return self._database.read(lambda db: self._get(db, key))

    def start_above(self, number: int) -> None:
        self._numbers.start_above(number)

    def reserve(self, key: str, parent: str) -> SnapshotRecord:
        if not key:
            raise InvalidArgument("a snapshot needs a key")

        def look(db: sqlite3.Connection) -> Sequence[int]:
            self._vacant(db, key)
            above = self._parent(db, parent)
            return () if above is None else (above, *_parents(db, above))

        return SnapshotRecord(self._numbers.next(), Kind.UNKNOWN, self._database.read(look))

    def create(
        self,
        kind: Kind,
        key: str,
        parent: str,
        labels: Mapping[str, str],
        *,
        id: int,  # noqa: A002 - the field's name
    ) -> SnapshotRecord:
        packed = rows.pack_map(label_rules.validate(labels))
        moment = rows.pack_time(now())

        def add(db: sqlite3.Connection) -> SnapshotRecord:
            above = self._parent(db, parent)
            self._vacant(db, key)
            db.execute(
                "INSERT INTO snapshot_records (id, snapshotter, key, kind, parent, labels, created, updated)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (id, self._name, key, int(kind), above, packed, moment, moment),
            )
            return self._get(db, key)

        return joint.write(self._database, add)

    def commit(self, key: str, name: str, usage: Usage, labels: Mapping[str, str], parent: str = "") -> None:
        packed = rows.pack_map(label_rules.validate(labels))
        if not name:
            raise InvalidArgument(f"cannot commit snapshot {quote(key)}: the committed snapshot needs a name")

        def change(db: sqlite3.Connection) -> None:
            record = self._get(db, key)
            assert record.info is not None
            if record.kind is not Kind.ACTIVE:
                raise FailedPrecondition(f"snapshot {quote(key)} is not active but {record.kind.name.lower()}")
            if parent and record.info.parent not in ("", parent):
                raise InvalidArgument(
                    f"cannot change the parent of active snapshot {quote(key)} on commit:"
                    f" it is {quote(record.info.parent)}, not {quote(parent)}"
                )
            self._vacant(db, name)
            above = self._parent(db, parent or record.info.parent)
            moment = rows.pack_time(now())
            db.execute(
                "UPDATE snapshot_records SET key = ?, kind = ?, size = ?, inodes = ?, parent = ?, labels = ?,"
                " created = ?, updated = ? WHERE id = ?",
                (name, int(Kind.COMMITTED), usage.size, usage.inodes, above, packed, moment, moment, record.id),
            )

        joint.write(self._database, change)

    def removable(self, key: str) -> SnapshotRecord:
        return self._database.read(lambda db: self._childless(db, key))

    def remove(self, key: str) -> SnapshotRecord:
        def delete(db: sqlite3.Connection) -> SnapshotRecord:
            record = self._childless(db, key)
            db.execute("DELETE FROM snapshot_records WHERE id = ?", (record.id,))
            return record

        return joint.write(self._database, delete, frees=True)

    def removable_many(self, keys: Sequence[str]) -> Sequence[int]:
        return self._database.read(lambda db: [self._number(db, key) for key in keys])

    def remove_many(self, keys: Sequence[str]) -> None:
        def delete(db: sqlite3.Connection) -> None:
            for key in keys:
                number = self._number(db, key)
                if db.execute("SELECT 1 FROM snapshot_records WHERE parent = ? LIMIT 1", (number,)).fetchone():
                    raise FailedPrecondition(f"cannot remove snapshot {quote(key)}: another is based on it")
                db.execute("DELETE FROM snapshot_records WHERE id = ?", (number,))

        self._database.write(delete, frees=True)

    def _number(self, db: sqlite3.Connection, key: str) -> int:
        row = db.execute(
            "SELECT id FROM snapshot_records WHERE snapshotter = ? AND key = ?", (self._name, key)
        ).fetchone()
        if row is None:
            raise NotFound(f"snapshot {quote(key)}: not found")
        return int(row[0])

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str]) -> SnapshotInfo:
        def change(db: sqlite3.Connection) -> SnapshotInfo:
            record = self._get(db, key)
            assert record.info is not None
            merged = label_rules.update(record.info.labels, labels, fieldpaths)
            moment = rows.pack_time(now())
            db.execute(
                "UPDATE snapshot_records SET labels = ?, updated = ? WHERE id = ?",
                (rows.pack_map(merged), moment, record.id),
            )
            return attrs.evolve(record.info, labels=merged, updated_at=rows.unpack_time(moment))

        return self._database.write(change)

    def usage(self, key: str) -> Usage:
        row = self._database.read(
            lambda db: db.execute(
                "SELECT size, inodes FROM snapshot_records WHERE snapshotter = ? AND key = ?", (self._name, key)
            ).fetchone()
        )
        if row is None:
            raise NotFound(f"snapshot {quote(key)}: not found")
        return Usage(*row)

    def walk(self, filters: Sequence[str]) -> Iterator[SnapshotInfo]:
        wanted = parse(filters)
        last = 0
        while page := self._page(last):
            for row in page:
                info = _info(row)
                if wanted.match(partial(snapshot_field, info)):
                    yield info
            last = page[-1][0]

    def _page(self, after: int) -> list[tuple[Any, ...]]:
        return self._database.read(
            lambda db: db.execute(
                f"{_SELECT} AND s.id > ? ORDER BY s.id LIMIT ?", (self._name, after, _PAGE)
            ).fetchall()
        )

    def ids(self) -> Mapping[int, str]:
        found = self._database.read(
            lambda db: db.execute(
                "SELECT id, key FROM snapshot_records WHERE snapshotter = ?", (self._name,)
            ).fetchall()
        )
        return dict(found)

    def _find(self, db: sqlite3.Connection, key: str) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = db.execute(f"{_SELECT} AND s.key = ?", (self._name, key)).fetchone()
        return found

    def _get(self, db: sqlite3.Connection, key: str) -> SnapshotRecord:
        row = self._find(db, key)
        if row is None:
            raise NotFound(f"snapshot {quote(key)}: not found")
        return SnapshotRecord(row[0], Kind(row[2]), _parents(db, row[0]), _info(row))

    def _vacant(self, db: sqlite3.Connection, key: str) -> None:
        if self._find(db, key) is not None:
            raise AlreadyExists(f"snapshot {quote(key)}: already exists")

    def _childless(self, db: sqlite3.Connection, key: str) -> SnapshotRecord:
        record = self._get(db, key)
        child = db.execute("SELECT key FROM snapshot_records WHERE parent = ? LIMIT 1", (record.id,)).fetchone()
        if child is not None:
            raise FailedPrecondition(f"cannot remove snapshot {quote(key)}: {quote(child[0])} is based on it")
        return record

    def _parent(self, db: sqlite3.Connection, parent: str) -> int | None:
        if not parent:
            return None
        row = self._find(db, parent)
        if row is None:
            raise NotFound(f"parent snapshot {quote(parent)}: not found")
        if row[2] != Kind.COMMITTED:
            raise InvalidArgument(f"parent {quote(parent)} is not a committed snapshot")
        return int(row[0])


def _parents(db: sqlite3.Connection, number: int) -> tuple[int, ...]:
    """The numbers above ``number``, nearest first."""
    found = db.execute(
        "WITH RECURSIVE up (id, parent, depth) AS ("
        " SELECT id, parent, 0 FROM snapshot_records WHERE id = ?"
        " UNION ALL SELECT p.id, p.parent, depth + 1 FROM snapshot_records p JOIN up ON p.id = up.parent)"
        " SELECT id FROM up WHERE depth > 0 ORDER BY depth",
        (number,),
    )
    return tuple(id_ for (id_,) in found)


def _info(row: tuple[Any, ...]) -> SnapshotInfo:
    _id, key, kind, parent, labels, created, updated, _parent = row
    return SnapshotInfo(
        key, Kind(kind), parent, rows.unpack_time(created), rows.unpack_time(updated), rows.unpack_map(labels)
    )


def snapshot_field(info: SnapshotInfo, path: Sequence[str]) -> str | None:
    """The fields of a snapshot that filters can ask for: name, kind, parent, labels."""
    match list(path):
        case ["name"]:
            return info.name
        case ["parent"]:
            return info.parent
        case ["kind"]:
            return info.kind.name.lower()
        case ["labels", *rest]:
            return label_rules.field(info.labels, rest)
    return None
