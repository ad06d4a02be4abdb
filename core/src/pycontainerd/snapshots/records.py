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
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotRecord, SnapshotRecords, Usage
from pycontainerd.contracts.types import now

_SELECT = (
    "SELECT s.id, s.key, s.kind, coalesce(p.key, ''), s.labels, s.created, s.updated, s.parent"
    " FROM snapshot_records s LEFT JOIN snapshot_records p ON p.id = s.parent WHERE s.snapshotter = ?"
)
_PAGE = 500


@attrs.frozen
class RecordStore:
    """`contracts.snapshots.SnapshotRecordStore` over the metadata database."""

    database: Database

    def records(self, snapshotter: str) -> SnapshotRecords:
        return Records(self.database, snapshotter)


class Records:
    """See `contracts.snapshots.SnapshotRecords`."""

    def __init__(self, database: Database, snapshotter: str) -> None:
        self._database = database
        self._name = snapshotter

    def get(self, key: str) -> SnapshotRecord:
        return self._database.read(lambda db: self._get(db, key))

    def create(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str]) -> SnapshotRecord:
        if not key:
            raise InvalidArgument("a snapshot needs a key")
        packed = rows.pack_map(label_rules.validate(labels))
        moment = rows.pack_time(now())

        def add(db: sqlite3.Connection) -> SnapshotRecord:
            above = self._parent(db, parent)
            try:
                db.execute(
                    "INSERT INTO snapshot_records (snapshotter, key, kind, parent, labels, created, updated)"
                    " VALUES (?,?,?,?,?,?,?)",
                    (self._name, key, int(kind), above, packed, moment, moment),
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"snapshot {key}: already exists") from None
            return self._get(db, key)

        return self._database.write(add)

    def commit(self, key: str, name: str, usage: Usage, labels: Mapping[str, str], parent: str = "") -> None:
        packed = rows.pack_map(label_rules.validate(labels))

        def change(db: sqlite3.Connection) -> None:
            record = self._get(db, key)
            if record.kind is not Kind.ACTIVE:
                raise FailedPrecondition(
                    f"snapshot {key} is {record.kind.name.lower()}, only active ones are committed"
                )
            moment = rows.pack_time(now())
            try:
                db.execute(
                    "UPDATE snapshot_records SET key = ?, kind = ?, size = ?, inodes = ?, labels = ?, created = ?,"
                    " updated = ? WHERE id = ?",
                    (name, int(Kind.COMMITTED), usage.size, usage.inodes, packed, moment, moment, record.id),
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"snapshot {name}: already exists") from None
            if parent:
                above = self._parent(db, parent)
                db.execute("UPDATE snapshot_records SET parent = ? WHERE id = ?", (above, record.id))

        self._database.write(change)

    def remove(self, key: str) -> SnapshotRecord:
        def delete(db: sqlite3.Connection) -> SnapshotRecord:
            record = self._get(db, key)
            if db.execute("SELECT 1 FROM snapshot_records WHERE parent = ? LIMIT 1", (record.id,)).fetchone():
                raise FailedPrecondition(f"cannot remove snapshot {key}: it has children")
            db.execute("DELETE FROM snapshot_records WHERE id = ?", (record.id,))
            return record

        return self._database.write(delete)

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
            raise NotFound(f"snapshot {key}: not found")
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

    def _get(self, db: sqlite3.Connection, key: str) -> SnapshotRecord:
        row = db.execute(f"{_SELECT} AND s.key = ?", (self._name, key)).fetchone()
        if row is None:
            raise NotFound(f"snapshot {key}: not found")
        found = db.execute(
            "WITH RECURSIVE up (id, parent, depth) AS ("
            " SELECT id, parent, 0 FROM snapshot_records WHERE id = ?"
            " UNION ALL SELECT p.id, p.parent, depth + 1 FROM snapshot_records p JOIN up ON p.id = up.parent)"
            " SELECT id FROM up WHERE depth > 0 ORDER BY depth",
            (row[0],),
        ).fetchall()
        return SnapshotRecord(row[0], Kind(row[2]), tuple(id_ for (id_,) in found), _info(row))

    def _parent(self, db: sqlite3.Connection, parent: str) -> int | None:
        if not parent:
            return None
        row = db.execute(
            "SELECT id, kind FROM snapshot_records WHERE snapshotter = ? AND key = ?", (self._name, parent)
        ).fetchone()
        if row is None:
            raise NotFound(f"missing parent {parent!r}: not found")
        if row[1] != Kind.COMMITTED:
            raise FailedPrecondition(f"parent {parent!r} is not a committed snapshot")
        return int(row[0])


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
            return info.kind.name.capitalize()
        case ["labels", *rest]:
            return label_rules.field(info.labels, rest)
    return None
