"""What a collection does to snapshotters: remove what no record names any more."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, NotFound
from pycontainerd.contracts.gc import Swept
from pycontainerd.contracts.locks import KeyedLocks
from pycontainerd.contracts.snapshots import BulkRemoving, Snapshotter

log = logging.getLogger("containerd.snapshots")

WORKERS = 8  # removals at a time: they share commits


class _Service(Protocol):
    database: Database
    locks: KeyedLocks
    pending: set[str]

    @property
    def backends(self) -> Mapping[str, Snapshotter]: ...


class Sweeper:
    """`contracts.gc.SnapshotSweeper`."""

    def __init__(self, service: _Service) -> None:
        self._service = service

    def names(self) -> Sequence[str]:
        return sorted(self._service.backends)

    def discard(self, snapshotter: str, names: Iterable[str]) -> Swept:
        backend = self._service.backends[snapshotter]
        if isinstance(backend, BulkRemoving):
            doomed = list(names)
            with contextlib.suppress(ContainerdError, OSError):  # then one by one: some of them can go
                backend.remove_many(doomed)
                return Swept(len(doomed))
            names = doomed
        return _remove_all(snapshotter, names, backend.remove)

    def discard_orphans(self, snapshotter: str) -> Swept:
        backend = self._service.backends[snapshotter]
        # In this order: a name that is at the back end is of one that is being made, or has a record, or is an orphan.
        try:
            found = [info.name for info in backend.walk()]
        except (ContainerdError, OSError) as exc:  # one that does not answer is looked at when it does
            _warn("a snapshotter does not say what it has", snapshotter=snapshotter, error=str(exc))
            return Swept(0, 0, 1)
        being_made = set(self._service.pending)
        named = self._service.database.read(lambda db: _named(db, snapshotter))

        def remove(name: str) -> None:
            with self._service.locks.hold(name):
                if not self._service.database.read(lambda db: _is_named(db, snapshotter, name)):
                    backend.remove(name)

        orphans = [name for name in found if name not in named and name not in being_made]
        swept = _remove_all(snapshotter, reversed(orphans), remove)
        rest = self.finish(snapshotter)
        return Swept(swept.count, 0, swept.failed + rest.failed)

    def finish(self, snapshotter: str) -> Swept:
        try:
            self._service.backends[snapshotter].cleanup()
        except (ContainerdError, OSError) as exc:
            _warn("what removals left is not deleted yet", snapshotter=snapshotter, error=str(exc))
            return Swept(failed=1)
        return Swept()


def _remove_all(snapshotter: str, names: Iterable[str], remove: Callable[[str], None]) -> Swept:
    """Remove them, several at a time; a parent that was tried before its child is tried again after it."""
    left, count, failed = list(names), 0, 0
    with ThreadPoolExecutor(max(1, min(WORKERS, len(left))), thread_name_prefix="snapshot-sweep") as pool:
        while left:
            outcomes = dict(zip(left, pool.map(partial(_outcome, remove), left), strict=True))
            errors = {name: exc for name, exc in outcomes.items() if exc is not None}
            progress = len(errors) < len(outcomes)
            left = [name for name, exc in errors.items() if progress and isinstance(exc, FailedPrecondition)]
            count += len(outcomes) - len(errors)
            failed += len(errors) - len(left)
            for name in errors.keys() - left:
                fields = {"snapshotter": snapshotter, "key": name, "error": str(errors[name])}
                log.warning("a collected snapshot is not removed yet", extra={"fields": fields})
    return Swept(count, 0, failed)


def _outcome(remove: Callable[[str], None], name: str) -> Exception | None:
    try:
        remove(name)
    except NotFound:
        return None  # it went in a crash, or by another hand
    except (ContainerdError, OSError) as exc:
        return exc
    return None


def _named(db: sqlite3.Connection, snapshotter: str) -> set[str]:
    """The names at the back end of what has a record, or is being committed."""
    found = db.execute(
        "SELECT name FROM snapshots WHERE snapshotter = ?1 UNION SELECT name FROM snapshot_commits WHERE snapshotter = ?1",
        (snapshotter,),
    )
    return {name for (name,) in found}


def _is_named(db: sqlite3.Connection, snapshotter: str, name: str) -> bool:
    found = db.execute(
        "SELECT 1 FROM snapshots WHERE snapshotter = ?1 AND name = ?2"
        " UNION ALL SELECT 1 FROM snapshot_commits WHERE snapshotter = ?1 AND name = ?2 LIMIT 1",
        (snapshotter, name),
    )
    return found.fetchone() is not None


def _warn(message: str, **fields: str) -> None:
    log.warning(message, extra={"fields": fields})
