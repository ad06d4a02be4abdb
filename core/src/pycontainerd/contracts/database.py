"""The metadata database (plugin type ``io.containerd.metadata.v1``)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar

import attrs

T = TypeVar("T")


@attrs.define(eq=False)
class Damage:
    """The database was damaged when it was opened, and has been replaced as well as could be.

    ``aside`` is where the damaged one is kept ("" where only its log had losses). Services that can derive records from
    what they have on disk do so, and `add` a sentence on what came of it to the report.
    """

    database: str
    reason: str
    aside: str
    sentences: list[str] = attrs.field(factory=list)

    def add(self, sentence: str) -> None:
        """Report one more thing that was lost or brought back."""
        self.sentences.append(sentence)


class Database(Protocol):
    """One SQLite database with grouped durable commits. Thread-safe; all calls block, so run them off the loop."""

    def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn`` in a read transaction on a consistent view; it must not write."""
        ...

    def write(self, fn: Callable[[sqlite3.Connection], T], *, frees: bool = False) -> T:
        """Run ``fn`` in a write transaction and return once it is on disk.

        ``fn`` may share one durable commit with concurrent callers: an exception it raises rolls back its own
        changes only. It must be short and call no back end (no file system work, no RPC). It may be run a second time
        after a first run was rolled back. ``frees`` says that it leads to space being freed: on a full disk it may use
        what is kept in reserve, where others are refused.

        :raises ResourceExhausted: the disk is full.
        """
        ...
