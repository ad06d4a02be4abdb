"""One durable commit for an operation that two stores write for.

A snapshot of a namespace has a row in the table of its namespace and a record of its back end, and the back end writes the
latter somewhere in the middle of its own work. So the row rides along: the next write of records by this thread has it in
its transaction.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import attrs

from pycontainerd.contracts.database import Database

T = TypeVar("T")


@attrs.define(eq=False)
class Rider:
    """Statements that wait for a transaction. ``done``: they are committed; ``refused`` is what they raised."""

    statements: Callable[[sqlite3.Connection], object]
    done: bool = False
    refused: BaseException | None = None


class _Waiting(threading.local):
    rider: Rider | None = None


_waiting = _Waiting()


@contextlib.contextmanager
def riding(statements: Callable[[sqlite3.Connection], object]) -> Iterator[Rider]:
    """Within the ``with``, ``statements`` ride on the first write of records; look at ``done`` whether there was one."""
    rider = Rider(statements)
    _waiting.rider = rider
    try:
        yield rider
    finally:
        _waiting.rider = None


def write(database: Database, fn: Callable[[sqlite3.Connection], T], *, frees: bool = False) -> T:
    """`Database.write`, with who waits for a ride; an error of either undoes both."""
    rider, _waiting.rider = _waiting.rider, None
    if rider is None:
        return database.write(fn, frees=frees)

    def both(db: sqlite3.Connection) -> T:
        result = fn(db)
        try:
            rider.statements(db)
        except BaseException as exc:
            rider.refused = exc
            raise
        return result

    result = database.write(both, frees=frees)
    rider.done = True
    return result
