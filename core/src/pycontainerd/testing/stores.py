"""Small stores to test plugins with: a database, the records of a snapshotter, the content of a namespace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

from pycontainerd.content.content import Content
from pycontainerd.content.local import LocalStore
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.events import EventBus
from pycontainerd.contracts.snapshots import SnapshotRecords
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.records import RecordStore


class _NoEvents:
    def publish(self, namespace: str, event: object, topic: str = "") -> None:
        """Nobody listens."""


def _gone(_message: object) -> None:
    raise AssertionError("the database is damaged")


@contextlib.contextmanager
def database(directory: str) -> Iterator[SqliteDatabase]:
    """A metadata database in ``directory`` that does not wait for the disk."""
    opened = SqliteDatabase(f"{directory}/metadata.db", _gone, sync=False)
    try:
        yield opened
    finally:
        opened.close()


def records(opened: SqliteDatabase, name: str = "suite") -> SnapshotRecords:
    """The records of the snapshotter ``name``."""
    return RecordStore(opened).records(name)


def content(directory: str, opened: SqliteDatabase) -> ContentStore:
    """The content of a namespace."""
    return Content(LocalStore(f"{directory}/content"), opened, cast("EventBus", _NoEvents())).scoped(Scope("suite"))
