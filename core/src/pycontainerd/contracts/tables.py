"""Statements on the shared tables that several stores need inside their own transactions."""

from __future__ import annotations

import sqlite3

from .errors import NotFound
from .types import Scope


def ensure_namespace(db: sqlite3.Connection, namespace: str) -> None:
    """A namespace exists from the first thing in it on."""
    db.execute("INSERT OR IGNORE INTO namespaces (name) VALUES (?)", (namespace,))


def hold(db: sqlite3.Connection, scope: Scope, type: str, id: str) -> None:  # noqa: A002 - the columns' names
    """Add a resource to the lease of ``scope``, if there is one.

    :raises NotFound: the lease is gone.
    """
    if not scope.lease:
        return
    try:
        db.execute("INSERT OR IGNORE INTO lease_resources VALUES (?,?,?,?)", (scope.namespace, scope.lease, type, id))
    except sqlite3.IntegrityError:
        raise NotFound(f"lease {scope.lease}: not found") from None


def release(db: sqlite3.Connection, namespace: str, type: str, id: str) -> None:  # noqa: A002 - the columns' names
    """Take a resource that is no more out of all leases of its namespace."""
    db.execute("DELETE FROM lease_resources WHERE namespace = ? AND type = ? AND id = ?", (namespace, type, id))
