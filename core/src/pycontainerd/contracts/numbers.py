"""Numbers that are given out once, ever."""

from __future__ import annotations

import sqlite3
import threading

from .database import Database

BLOCK = 64  # numbers taken from the database at a time: a durable commit for each would cost more than the gaps


class Numbers:
    """A sequence kept in the database. Thread-safe; not to be used inside a transaction."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._lock = threading.Lock()
        self._next = 1
        self._last = 0

    def next(self) -> int:
        """A number that no call on this sequence ever returned, in this process or one before it."""
        with self._lock:
            if self._next > self._last:
                self._last = self._take(0)
                self._next = self._last - BLOCK + 1
            number = self._next
            self._next += 1
            return number

    def start_above(self, number: int) -> None:
        """Never return ``number`` or less from now on."""
        with self._lock:
            if self._last == 0 and self._database.read(self._taken) >= number:
                return
            if self._next <= number:
                self._last = self._take(number)
                self._next = self._last - BLOCK + 1

    def _taken(self, db: sqlite3.Connection) -> int:
        found = db.execute("SELECT value FROM sequences WHERE name = ?", (self._name,)).fetchone()
        return int(found[0]) if found else 0

    def _take(self, above: int) -> int:
        """Take a block above ``above`` for this process; returns its last number."""

        def take(db: sqlite3.Connection) -> int:
            last = max(self._taken(db), above) + BLOCK
            db.execute("INSERT OR REPLACE INTO sequences VALUES (?, ?)", (self._name, last))
            return last

        return self._database.write(take, frees=True)  # it needs no space, and a start on a full disk may need it
