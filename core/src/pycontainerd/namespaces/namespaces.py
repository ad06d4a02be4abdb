"""Namespaces in the metadata database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts import rows
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, NotFound
from pycontainerd.contracts.events import EventBus, NamespaceCreate, NamespaceDelete, NamespaceUpdate
from pycontainerd.contracts.service import validate_identifier
from pycontainerd.contracts.types import EMPTY

_HOLDS = {
    "images": "images",
    "blobs": "content",
    "containers": "containers",
    "snapshots": "snapshots",
    "leases": "leases",
}


class Namespaces:
    """See `contracts.namespaces.NamespaceService`."""

    def __init__(self, database: Database, events: EventBus) -> None:
        self._database = database
        self._events = events

    def labels(self, name: str) -> Mapping[str, str]:
        row = self._database.read(
            lambda db: db.execute("SELECT labels FROM namespaces WHERE name = ?", (name,)).fetchone()
        )
        # Go clients ask for the default snapshotter and runtime of a namespace before anything is in it.
        return rows.unpack_map(row[0]) if row is not None else {}

    def list(self) -> Sequence[str]:
        found = self._database.read(lambda db: db.execute("SELECT name FROM namespaces ORDER BY name").fetchall())
        return [name for (name,) in found]

    def create(self, name: str, labels: Mapping[str, str] = EMPTY) -> None:
        validate_identifier(name, "namespace")
        packed = rows.pack_map(label_rules.validate(labels))

        def add(db: sqlite3.Connection) -> None:
            try:
                db.execute("INSERT INTO namespaces VALUES (?,?)", (name, packed))
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"namespace {name!r}: already exists") from None

        self._database.write(add)
        self._events.publish(name, NamespaceCreate(name, labels))

    def set_labels(self, name: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> Mapping[str, str]:
        def change(db: sqlite3.Connection) -> Mapping[str, str]:
            row = db.execute("SELECT labels FROM namespaces WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise NotFound(f"namespace {name!r}: not found")
            merged = label_rules.update(rows.unpack_map(row[0]), labels, fieldpaths)
            db.execute("UPDATE namespaces SET labels = ? WHERE name = ?", (rows.pack_map(merged), name))
            return merged

        merged = self._database.write(change)
        self._events.publish(name, NamespaceUpdate(name, merged))
        return merged

    def delete(self, name: str) -> None:
        def remove(db: sqlite3.Connection) -> None:
            held = [
                what
                for table, what in _HOLDS.items()
                if db.execute(f"SELECT 1 FROM {table} WHERE namespace = ? LIMIT 1", (name,)).fetchone()
            ]
            if held:
                raise FailedPrecondition(
                    f"namespace {name!r} must be empty, but it still has {', '.join(held)}", hint="remove them first"
                )
            if db.execute("DELETE FROM namespaces WHERE name = ?", (name,)).rowcount == 0:
                raise NotFound(f"namespace {name!r}: not found")

        self._database.write(remove, frees=True)
        self._events.publish(name, NamespaceDelete(name))
