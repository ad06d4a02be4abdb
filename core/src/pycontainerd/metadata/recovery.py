"""Opening the database so that a damaged file never keeps the daemon from starting."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable

from .schema import migrate


def open_checked(path: str, say: Callable[[str], None]) -> sqlite3.Connection:
    """The writing connection to ``path``, migrated.

    After an unclean end the file is checked first. A damaged one is moved aside, whole, and a new one begun.

    :raises ValueError: a newer release wrote it.
    """
    marker = f"{path}.open"
    unclean = os.path.exists(marker)
    try:
        connection = _open(path, check=unclean)
    except sqlite3.DatabaseError as exc:
        if (
            isinstance(exc, sqlite3.OperationalError)
            and "malformed" not in str(exc)
            and "not a database" not in str(exc)
        ):
            raise  # the disk is full or read-only: the file itself may be well
        aside = _quarantine(path)
        say(f"the metadata database {path} is damaged ({exc}); it is kept as {aside} and a new one is begun")
        connection = _open(path, check=False)
    with open(marker, "w", encoding="ascii"):
        pass
    return connection


def _open(path: str, *, check: bool) -> sqlite3.Connection:
    connection = connect(path)
    try:
        if check:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: str) -> sqlite3.Connection:
    """A connection with our settings: explicit transactions, WAL, full sync, foreign keys."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _quarantine(path: str) -> str:
    aside = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.rename(path + suffix, aside + suffix)
    return aside
