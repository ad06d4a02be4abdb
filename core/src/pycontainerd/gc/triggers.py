"""Temporary triggers on the connection that writes: they tell a collector what changes while it works.

They live in that connection only, so the file knows nothing of them, and no store needs to say what it does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from pycontainerd.contracts.gc import Change, Node
from pycontainerd.contracts.types import EMPTY

_NOT_COMMITTED = (
    "NOT EXISTS (SELECT 1 FROM main.snapshot_commits c WHERE c.namespace = {r}.namespace"
    " AND c.snapshotter = {r}.snapshotter AND c.key = {r}.key)"
)
# A lease that is still there let go of something that is.
_LET_GO = (
    "EXISTS (SELECT 1 FROM main.leases l WHERE l.namespace = {r}.namespace AND l.id = {r}.lease) AND CASE {r}.type"
    " WHEN 'content' THEN EXISTS (SELECT 1 FROM main.blobs b WHERE b.namespace = {r}.namespace AND b.digest = {r}.id)"
    " WHEN 'images' THEN EXISTS (SELECT 1 FROM main.images i WHERE i.namespace = {r}.namespace AND i.name = {r}.id)"
    " ELSE EXISTS (SELECT 1 FROM main.snapshots s WHERE s.namespace = {r}.namespace"
    " AND s.snapshotter = substr({r}.type, 11) AND s.key = {r}.id) END"
)
# Table, kind, key, labels and expiry as SQL on the row {r}; and when a deleted row may leave garbage.
_TABLES = (
    ("blobs", "'content'", "{r}.digest", "''", "0", "1"),
    ("images", "'images'", "{r}.name", "{r}.labels", "0", "1"),
    ("containers", "'containers'", "{r}.id", "''", "0", "1"),
    ("sandboxes", "'sandboxes'", "{r}.id", "''", "0", "1"),
    ("leases", "'leases'", "{r}.id", "{r}.labels", "0", "1"),
    # A commit deletes the row of the active snapshot too, while its plan is there; that frees nothing.
    (
        "snapshots",
        "'snapshots/' || {r}.snapshotter",
        "{r}.key",
        "''",
        "0",
        _NOT_COMMITTED,
    ),
    ("snapshot_commits", "'commits/' || {r}.snapshotter", "{r}.target", "''", "0", "0"),
    ("ingests", "'ingests'", "{r}.ref", "''", "coalesce({r}.expires, 0)", "0"),
    # What is gone itself, or goes with its lease, has been counted.
    (
        "lease_resources",
        "{r}.type",
        "{r}.id",
        "''",
        "0",
        _LET_GO,
    ),
)
_FUNCTION = "containerd_gc_note"


def install(db: sqlite3.Connection, note: Callable[[Change], None]) -> None:
    """Have ``note`` called for each row that this connection writes from now on."""

    def called(kind: str, namespace: str, key: str, removed: int, labels: str, expires: int) -> None:
        # Only those labels matter here that say when something expires.
        told = json.loads(labels) if "gc.expire" in labels else EMPTY
        note(Change(Node(kind, namespace, key), bool(removed), told, expires))

    db.create_function(_FUNCTION, 6, called)
    for table, kind, key, labels, expires, frees in _TABLES:
        for event, row, removed in (("INSERT", "NEW", "0"), ("UPDATE", "NEW", _moved(table)), ("DELETE", "OLD", frees)):
            values = [kind, "{r}.namespace", key, removed, labels, expires]
            arguments = ", ".join(value.format(r=row) for value in values)
            # A lease may let go of thousands of things at once; who watches is told only of what counts.
            when = f" WHEN {frees.format(r=row)}" if (table, event) == ("lease_resources", "DELETE") else ""
            db.execute(
                f"CREATE TEMP TRIGGER IF NOT EXISTS gc_{table}_{event.lower()} AFTER {event} ON main.{table}{when}"
                f" BEGIN SELECT {_FUNCTION}({arguments}); END"
            )


def _moved(table: str) -> str:
    """When a changed row may leave garbage: an image got another target."""
    return "OLD.target <> NEW.target" if table == "images" else "0"
