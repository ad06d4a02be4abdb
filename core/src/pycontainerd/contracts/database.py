"""The metadata database (plugin type ``io.containerd.metadata.v1``)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Database(Protocol):
    """One SQLite database with grouped durable commits. Thread-safe; both calls block, so run them off the loop."""

    def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn`` in a read transaction on a consistent view; it must not write."""
        ...

    def write(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn`` in a write transaction and return once it is on disk.

        ``fn`` may share one durable commit with concurrent callers: an exception it raises rolls back its own
        changes only. It must be short and call no back end (no file system work, no RPC).
        """
        ...
