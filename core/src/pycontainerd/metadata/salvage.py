"""What can still be read out of a damaged database.

SQLite has no checksums, so what is read is looked at before it is believed: its types, its JSON. A table that reads to
its end is taken for what it is; of one that does not, what could be read is added to what the copy has.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from .connections import connect_reader
from .schema import columns_of

LIMIT = 60.0  # seconds for all of it: damage can make a search go round in circles
_JSON = ("labels", "extensions", "images.target")  # columns of any table, or of one
Row = tuple[Any, ...]


@attrs.define
class Salvaged:
    """How it went with one table: rows the copy had, rows read from the damaged file, rows that made no sense."""

    copied: int = 0
    read: int = 0
    refused: int = 0
    whole: bool = False


def salvage(damaged: str, into: sqlite3.Connection) -> dict[str, Salvaged]:
    """Bring what can be read in the file ``damaged`` into the database ``into`` (in one transaction of this function).

    The file is not changed, but where it has a log SQLite replays it into memory of its own.
    """
    tables = [name for (name,) in into.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    result = {name: Salvaged() for name in sorted(tables) if not name.startswith("sqlite_")}
    for name, outcome in result.items():
        (outcome.copied,) = into.execute(f"SELECT count(*) FROM {name}").fetchone()
    source = _open(damaged)
    if source is None:
        return result
    into.execute("PRAGMA foreign_keys=OFF")
    into.execute("BEGIN IMMEDIATE")
    try:
        for name, outcome in result.items():
            if name != "schema_versions":
                _table(source, into, name, outcome)
        _consistent(into)
        into.execute("COMMIT")
    except BaseException:
        into.rollback()
        raise
    finally:
        into.execute("PRAGMA foreign_keys=ON")
        source.close()
    return result


def nonsense(connection: sqlite3.Connection) -> str:
    """Why values in the tables cannot be what was stored, as a sentence; empty where they can.

    SQLite's own check looks at the structure, and takes every value for good.
    """
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    connection.text_factory = bytes
    try:
        for name in names:
            if name.startswith("sqlite_"):
                continue
            shape = [
                (column[1].decode(), column[2].decode(), column[3], column[5])
                for column in connection.execute(f"PRAGMA table_info({name})")
            ]
            checks = [
                _check(name, column, kind, optional=not filled and not key) for column, kind, filled, key in shape
            ]
            columns = ", ".join(column for column, *_ in shape)
            bad = sum(1 for row in connection.execute(f"SELECT {columns} FROM {name}") if _sound(row, checks) is None)
            if bad:
                return f"{bad} records of its table {name} make no sense"
    finally:
        connection.text_factory = str
    return ""


def _open(path: str) -> sqlite3.Connection | None:
    """The damaged file, for reading; None where SQLite does not even see a database in it."""
    if not os.path.isfile(path):
        return None
    try:
        connection = connect_reader(path)
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    try:
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        return None
    end = time.monotonic() + LIMIT
    connection.set_progress_handler(lambda: int(time.monotonic() > end), 100_000)
    connection.text_factory = bytes  # one bad byte must not end the reading of a table
    return connection


def _table(source: sqlite3.Connection, into: sqlite3.Connection, name: str, outcome: Salvaged) -> None:
    shape = into.execute(f"PRAGMA table_info({name})").fetchall()
    there = _columns(source, name)
    shape = [column for column in shape if column[1] in there]
    if not shape:
        return
    columns = [column[1] for column in shape]
    keys = [column[1] for column in sorted(shape, key=lambda column: column[5]) if column[5]]
    checks = [_check(name, column[1], column[2], optional=not column[3] and not column[5]) for column in shape]
    found: dict[Row, Row] = {}
    places = [columns.index(key) for key in keys]
    whole = _structure_is_sound(source, name)
    for order in ("ASC", "DESC"):  # what lies behind a damaged page is reached from the other end
        rows = _read(source, name, columns, keys, order)
        try:
            for raw in rows:
                row = _sound(raw, checks)
                if row is None:
                    outcome.refused += 1
                else:
                    found.setdefault(tuple(row[place] for place in places), row)
        except (sqlite3.Error, UnicodeDecodeError):
            whole = False
            continue
        break
    outcome.read = len(found)
    outcome.whole = whole and not outcome.refused
    if outcome.whole:
        into.execute(f"DELETE FROM {name}")
    marks = ",".join("?" * len(columns))
    for row in found.values():
        with contextlib.suppress(sqlite3.IntegrityError):  # another row has its place: the one of the copy stays
            into.execute(f"INSERT OR REPLACE INTO {name} ({', '.join(columns)}) VALUES ({marks})", row)


def _structure_is_sound(source: sqlite3.Connection, name: str) -> bool:
    """Whether nothing of the table is out of reach without an error, as with a page that says it is empty."""
    try:
        return [row[0] for row in source.execute(f"PRAGMA quick_check({name})")] == [b"ok"]
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def _columns(source: sqlite3.Connection, name: str) -> set[str]:
    source.text_factory = str
    try:
        return set(columns_of(source, name))
    except (sqlite3.Error, UnicodeDecodeError):
        return set()
    finally:
        source.text_factory = bytes


def _read(
    source: sqlite3.Connection, name: str, columns: Sequence[str], keys: Sequence[str], order: str
) -> Iterator[Row]:
    by = ", ".join(f"{key} {order}" for key in keys)
    yield from source.execute(f"SELECT {', '.join(columns)} FROM {name} NOT INDEXED ORDER BY {by}")


def _check(table: str, name: str, kind: str, *, optional: bool) -> Callable[[Any], Any]:
    """A function that returns a value as it is to be stored, and raises ValueError for what cannot be one.

    Only for what no client could ever have stored: a sound database that is taken for a damaged one is data lost.
    """
    described = name in _JSON or f"{table}.{name}" in _JSON

    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        if kind == "INTEGER" and isinstance(value, int):
            return value
        if kind == "BLOB" and isinstance(value, bytes):
            return value
        if kind == "TEXT" and isinstance(value, bytes):
            text = value.decode("utf-8")
            if described and text:
                json.loads(text)
            return text
        raise ValueError(name)

    return check


def _sound(raw: Row, checks: Sequence[Callable[[Any], Any]]) -> Row | None:
    try:
        return tuple(check(value) for check, value in zip(checks, raw, strict=True))
    except ValueError:
        return None


def _consistent(into: sqlite3.Connection) -> None:
    """Take out what refers to nothing: each removal may leave others without what they refer to."""
    while broken := into.execute("PRAGMA foreign_key_check").fetchall():
        for table, rowid, parent, _ in broken:
            if rowid is not None:
                into.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
            elif parent == "leases":
                into.execute(
                    "DELETE FROM lease_resources WHERE NOT EXISTS (SELECT 1 FROM leases"
                    " WHERE leases.namespace = lease_resources.namespace AND leases.id = lease_resources.lease)"
                )
            else:  # a table of a newer release, about which nothing is known here
                into.execute(f"DELETE FROM {table}")
                break
