"""The statements on the tables of namespaced snapshots, for one namespace and one snapshotter.

Each function belongs into a transaction of its caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import attrs

from pycontainerd.contracts import rows
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, NotFound
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.tables import release
from pycontainerd.contracts.types import now

from .syncs import note_commit

_COLUMNS = "key, name, parent, labels, created, updated"


@attrs.frozen
class Row:
    """A snapshot of the namespace; ``name`` is what the back end calls it."""

    key: str
    name: str
    parent: str
    labels: str
    created: int
    updated: int


@attrs.frozen
class Plan:
    """A commit under way: ``key`` is to become ``target``, which the back end is to call ``name``."""

    target: str
    key: str
    name: str
    parent: str
    labels: str


@attrs.frozen
class Table:
    """The rows of one namespace and snapshotter."""

    namespace: str
    snapshotter: str

    @property
    def _where(self) -> tuple[str, str]:
        return (self.namespace, self.snapshotter)

    @property
    def lease_type(self) -> str:
        """What leases call a snapshot of it."""
        return f"snapshots/{self.snapshotter}"

    def find(self, db: sqlite3.Connection, key: str) -> Row | None:
        found = db.execute(
            f"SELECT {_COLUMNS} FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ?",
            (*self._where, key),
        ).fetchone()
        return None if found is None else Row(*found)

    def get(self, db: sqlite3.Connection, key: str, what: str = "snapshot") -> Row:
        row = self.find(db, key)
        if row is None:
            raise NotFound(f"{what} {quote(key)} does not exist: not found")
        return row

    def page(self, db: sqlite3.Connection, after: str, limit: int) -> list[Row]:
        found = db.execute(
            f"SELECT {_COLUMNS} FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key > ?"
            " ORDER BY key LIMIT ?",
            (*self._where, after, limit),
        )
        return [Row(*row) for row in found]

    def insert(self, db: sqlite3.Connection, row: Row) -> None:
        """:raises AlreadyExists: the key is taken, or a commit under way will take it."""
        self.vacant(db, row.key)
        db.execute(
            "INSERT INTO snapshots VALUES (?,?,?,?,?,?,?,?)",
            (*self._where, row.key, row.name, row.parent, row.labels, row.created, row.updated),
        )

    def vacant(self, db: sqlite3.Connection, key: str) -> None:
        """:raises AlreadyExists: ``key`` is taken, or a commit under way will take it."""
        planned = db.execute(
            "SELECT 1 FROM snapshot_commits WHERE namespace = ? AND snapshotter = ? AND target = ?",
            (*self._where, key),
        ).fetchone()
        if planned or self.find(db, key) is not None:
            raise AlreadyExists(f"snapshot {quote(key)}: already exists")

    def relabel(self, db: sqlite3.Connection, key: str, labels: Mapping[str, str]) -> None:
        db.execute(
            "UPDATE snapshots SET labels = ?, updated = ? WHERE namespace = ? AND snapshotter = ? AND key = ?",
            (rows.pack_map(labels), rows.pack_time(now()), *self._where, key),
        )

    def delete(self, db: sqlite3.Connection, key: str) -> Row:
        """Delete a snapshot that nothing is based on and nobody is committing; leases let go of it."""
        row = self.removable(db, key)
        self._drop(db, key)
        # Nobody needs to know any more whether it got to the disk.
        db.execute("DELETE FROM snapshot_syncs WHERE snapshotter = ? AND name = ?", (self._where[1], row.name))
        return row

    def removable(self, db: sqlite3.Connection, key: str) -> Row:
        """The row, if `delete` would delete it now."""
        row = self.get(db, key)
        self._not_committing(db, key)
        for child in db.execute(
            "SELECT key FROM snapshots WHERE namespace = ? AND snapshotter = ? AND parent = ?"
            " UNION ALL SELECT key FROM snapshot_commits WHERE namespace = ? AND snapshotter = ? AND parent = ? LIMIT 1",
            (*self._where, key, *self._where, key),
        ):
            raise FailedPrecondition(
                f"cannot remove snapshot {quote(key)}: snapshot {quote(child[0])} is based on it",
                hint="remove it first",
            )
        return row

    def drop_made(self, db: sqlite3.Connection, row: Row) -> None:
        """Take back the row of a snapshot that was not made after all."""
        if self.find(db, row.key) == row:
            self._drop(db, row.key)

    def plan(self, db: sqlite3.Connection, plan: Plan) -> None:
        """Begin a commit."""
        self.vacant(db, plan.target)
        self._not_committing(db, plan.key)
        db.execute(
            "INSERT INTO snapshot_commits VALUES (?,?,?,?,?,?,?)",
            (*self._where, plan.target, plan.key, plan.name, plan.parent, plan.labels),
        )
        note_commit(db, self.snapshotter, plan.name)

    def finish(self, db: sqlite3.Connection, plan: Plan) -> None:
        """End a commit that the back end has done."""
        self._drop(db, plan.key)  # while its plan is there: who watches knows that this frees nothing
        self.drop_plan(db, plan)
        moment = rows.pack_time(now())
        self.insert(db, Row(plan.target, plan.name, plan.parent, plan.labels, moment, moment))
        note_commit(db, self.snapshotter, plan.name)

    def drop_plan(self, db: sqlite3.Connection, plan: Plan) -> None:
        """End a commit that the back end has not done."""
        db.execute(
            "DELETE FROM snapshot_commits WHERE namespace = ? AND snapshotter = ? AND target = ?",
            (*self._where, plan.target),
        )

    def _not_committing(self, db: sqlite3.Connection, key: str) -> None:
        found = db.execute(
            "SELECT target FROM snapshot_commits WHERE namespace = ? AND snapshotter = ? AND key = ?",
            (*self._where, key),
        ).fetchone()
        if found:
            raise FailedPrecondition(f"snapshot {quote(key)} is being committed as {quote(found[0])}")

    def _drop(self, db: sqlite3.Connection, key: str) -> None:
        db.execute("DELETE FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ?", (*self._where, key))
        release(db, self.namespace, self.lease_type, key)


def plans(db: sqlite3.Connection, snapshotter: str) -> list[tuple[Table, Plan]]:
    """The commits of ``snapshotter`` that were under way when the daemon ended."""
    found = db.execute(
        "SELECT namespace, target, key, name, parent, labels FROM snapshot_commits WHERE snapshotter = ?",
        (snapshotter,),
    )
    return [(Table(namespace, snapshotter), Plan(*plan)) for namespace, *plan in found]
