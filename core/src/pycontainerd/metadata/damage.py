"""What SQLite's errors mean to a caller."""

from __future__ import annotations

import sqlite3

from pycontainerd.contracts.errors import (
    ContainerdError,
    DataLoss,
    FailedPrecondition,
    Internal,
    ResourceExhausted,
    Unavailable,
)

_MEANING: dict[int, tuple[type[ContainerdError], str]] = {
    sqlite3.SQLITE_FULL: (ResourceExhausted, "free some disk space"),
    sqlite3.SQLITE_CORRUPT: (DataLoss, "restart the daemon: it moves a damaged database aside"),
    sqlite3.SQLITE_NOTADB: (DataLoss, "restart the daemon: it moves a damaged database aside"),
    sqlite3.SQLITE_READONLY: (FailedPrecondition, "the file system is mounted read-only, or the file is"),
    sqlite3.SQLITE_BUSY: (Unavailable, "another program holds the file"),
    sqlite3.SQLITE_IOERR: (Internal, "look for errors of the disk in the kernel's log"),
}


def primary_code(exc: BaseException) -> int:
    """SQLite's primary result code of ``exc``, 0 where it has none."""
    return int(getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF


def is_damage(exc: sqlite3.Error) -> bool:
    """True where the file itself is broken; a full disk or a missing permission is something else."""
    return primary_code(exc) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def explain(exc: BaseException, path: str) -> BaseException:
    """``exc`` as an error of the family where it tells of the database, else itself (a mistake of ours keeps its name)."""
    kind, hint = _MEANING.get(primary_code(exc), (None, ""))
    if kind is None:
        return exc
    return kind(f"the metadata database {path} failed: {exc}", hint=hint)
