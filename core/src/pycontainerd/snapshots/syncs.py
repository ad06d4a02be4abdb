"""Committed snapshots get to the disk: together, while other work goes on.

A commit is recorded with the boot it was made in. Once the file system has been synced the record goes. One that is left
from another boot says that the power was off before the files were safe (see suspects.py).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Mapping

from pycontainerd.contracts import rows
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError, DataLoss
from pycontainerd.contracts.snapshots import Snapshotter, Syncing
from pycontainerd.contracts.types import now
from pycontainerd.sys.boot import boot_id

log = logging.getLogger("containerd.snapshots")

PAUSE = 0.25  # seconds that a sync waits for more commits to come, unless somebody waits for it


def note_commit(db: sqlite3.Connection, snapshotter: str, name: str) -> None:
    """Record that the back end's snapshot ``name`` is committed and may not be on disk; in a transaction of the caller."""
    db.execute(
        "INSERT OR IGNORE INTO snapshot_syncs VALUES (?,?,?,?)", (snapshotter, name, boot_id(), rows.pack_time(now()))
    )


class Syncs:
    """Syncs the file systems of ``backends`` after commits. Thread-safe; its thread ends when there is nothing to do."""

    def __init__(self, database: Database, backends: Mapping[str, Snapshotter]) -> None:
        self._database = database
        self._backends = backends
        self._condition = threading.Condition()
        self._wanted: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._errors: dict[str, BaseException | None] = {}
        self._hurry = False
        self._thread: threading.Thread | None = None

    def committed(self, snapshotter: str) -> None:
        """There is something to sync; returns at once."""
        with self._condition:
            self._want(snapshotter)

    def flush(self, snapshotter: str) -> None:
        """Return once everything committed before is on disk.

        :raises DataLoss: it could not be written.
        """
        if not self._database.read(lambda db: _unsynced(db, snapshotter)):
            return
        with self._condition:
            ticket = self._want(snapshotter)
            self._hurry = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._done.get(snapshotter, 0) >= ticket)
            error = self._errors.get(snapshotter)
        if error is not None:
            raise DataLoss(
                f"the snapshots of {snapshotter} cannot be put on disk: {error}",
                hint="look for errors of the disk in the kernel's log",
            ) from error

    def _want(self, snapshotter: str) -> int:
        ticket = self._wanted[snapshotter] = self._wanted.get(snapshotter, 0) + 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="snapshot-sync", daemon=True)
            self._thread.start()
        return ticket

    def _run(self) -> None:
        while True:
            with self._condition:
                pending = [name for name, ticket in self._wanted.items() if self._done.get(name, 0) < ticket]
                if not pending:
                    self._thread = None
                    return
                self._condition.wait_for(lambda: self._hurry, PAUSE)
                self._hurry = False
                tickets = {name: self._wanted[name] for name in pending}
            for name, ticket in tickets.items():
                error = self._sync(name)
                with self._condition:
                    self._done[name], self._errors[name] = ticket, error
                    self._condition.notify_all()

    def _sync(self, snapshotter: str) -> BaseException | None:
        try:
            names = self._database.read(lambda db: _unsynced(db, snapshotter))
            if names:
                sync(self._backends.get(snapshotter))
                self._database.write(lambda db: _forget(db, snapshotter, names), frees=True)
        except (ContainerdError, OSError) as exc:
            log.warning(
                "committed snapshots are not known to be on disk",
                extra={"fields": {"snapshotter": snapshotter, "error": str(exc)}},
            )
            return exc
        except BaseException as exc:  # who waits must not wait for ever
            log.exception("syncing snapshots failed", extra={"fields": {"snapshotter": snapshotter}})
            return exc
        return None


def sync(backend: Snapshotter | None) -> None:
    """Put on disk what was written to the snapshots of ``backend``."""
    if isinstance(backend, Syncing):
        backend.sync()
    else:
        os.sync()


def _unsynced(db: sqlite3.Connection, snapshotter: str) -> list[str]:
    """Those of this boot; the others are not to be trusted, and a sync does not change that."""
    found = db.execute("SELECT name FROM snapshot_syncs WHERE snapshotter = ? AND boot = ?", (snapshotter, boot_id()))
    return [name for (name,) in found]


def _forget(db: sqlite3.Connection, snapshotter: str, names: list[str]) -> None:
    db.executemany("DELETE FROM snapshot_syncs WHERE snapshotter = ? AND name = ?", [(snapshotter, n) for n in names])
