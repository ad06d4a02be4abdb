"""What SQLite's errors mean to a caller."""

from __future__ import annotations

import os
import sqlite3

from pycontainerd.contracts.errors import (
    DISK_FULL,
    ContainerdError,
    DataLoss,
    FailedPrecondition,
    Internal,
    ResourceExhausted,
    Unavailable,
)

_MEANING: dict[int, tuple[type[ContainerdError], str]] = {
    sqlite3.SQLITE_FULL: (ResourceExhausted, DISK_FULL),
    sqlite3.SQLITE_CORRUPT: (DataLoss, "restart the daemon: it moves a damaged database aside"),
    sqlite3.SQLITE_NOTADB: (DataLoss, "restart the daemon: it moves a damaged database aside"),
    sqlite3.SQLITE_READONLY: (FailedPrecondition, "the file system is mounted read-only, or the file is"),
    sqlite3.SQLITE_BUSY: (Unavailable, "another program holds the file"),
    sqlite3.SQLITE_IOERR: (Internal, "look for errors of the disk in the kernel's log"),
}


_UNREADABLE = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)


def primary_code(exc: BaseException) -> int:
    """SQLite's primary result code of ``exc``, 0 where it has none."""
    return int(getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF


def is_damage(exc: BaseException, path: str = "") -> bool:
    """True where the file itself is broken; a full disk or a missing permission is something else.

    With ``path`` it is the file that was being opened. Then whatever SQLite does not like about it is damage: an
    unknown format, a schema that does not parse, a mark that it must not be written although it may be.
    """
    code = primary_code(exc)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    if not path:
        return False
    if code == sqlite3.SQLITE_READONLY:
        return os.access(path, os.W_OK)
    if code == sqlite3.SQLITE_IOERR:
        return getattr(exc, "sqlite_errorcode", 0) in _UNREADABLE
    return code == sqlite3.SQLITE_ERROR


def explain(exc: BaseException, path: str) -> BaseException:
    """``exc`` as an error of the family where it tells of the database, else itself (a mistake of ours keeps its name)."""
    kind, hint = _MEANING.get(primary_code(exc), (None, ""))
    if kind is None:
        return exc
    return kind(f"the metadata database {path} failed: {exc}", hint=hint)
