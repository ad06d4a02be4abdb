"""Namespaced snapshotters: names and labels are the namespace's, the file systems the back end's."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError, DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from pycontainerd.contracts.events import EventBus
from pycontainerd.contracts.locks import KeyedLocks
from pycontainerd.contracts.numbers import Numbers
from pycontainerd.contracts.scopes import in_scope
from pycontainerd.contracts.snapshots import Snapshotter, Suspect
from pycontainerd.contracts.tables import hold
from pycontainerd.contracts.types import Scope

from . import suspects
from .scoped import ScopedSnapshotter
from .sweep import Sweeper
from .syncs import Syncs
from .table import Table, plans

log = logging.getLogger("containerd.snapshots")

PATIENCE = 10.0  # seconds to wait for another's recovery of a back end


class Snapshots:
    """`contracts.snapshots.SnapshotService` over the ``backends`` that are up, now and later.

    ``preferred`` are the names of the default, best first; ``why(name)`` says why a snapshotter is not there.
    """

    def __init__(
        self,
        backends: Mapping[str, Snapshotter],
        preferred: Sequence[str],
        database: Database,
        events: EventBus,
        why: Callable[[str], str],
    ) -> None:
        self.database = database
        self.events = events
        self.numbers = Numbers(database, "snapshot")
        self.locks = KeyedLocks()
        self.pending: set[str] = set()  # names at back ends of snapshots that are being made
        self._backends = backends
        self.syncs = Syncs(database, backends)
        self.preferred = preferred
        self._why = why
        self._finished: dict[str, Snapshotter] = {}
        self._finishing: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    @property
    def backends(self) -> Mapping[str, Snapshotter]:
        """The snapshotters that are up."""
        return self._backends

    @property
    def default(self) -> str:
        """The snapshotter of callers that name none."""
        found = next((name for name in self.preferred if name in self._backends), None)
        return found or next(iter(self._backends), self.preferred[0])

    def scoped(self, scope: Scope, snapshotter: str) -> Snapshotter:
        name = snapshotter or self.default
        backend = self._backends.get(name)
        if backend is None:
            # Not NotFound: a client that looks for a snapshot would take it for "no such snapshot" and go on.
            raise InvalidArgument(f"snapshotter not loaded: {name}: {self._why(name)}")
        if self._finished.get(name) is not backend:
            self._finish_commits(name, backend)
        return ScopedSnapshotter(self, scope, name, in_scope(backend, scope))

    def held(self, scope: Scope, snapshotter: str, key: str) -> bool:
        table = Table(scope.namespace, snapshotter or self.default)

        def take(db: sqlite3.Connection) -> bool:
            there = table.find(db, key) is not None
            if there:
                hold(db, scope, table.lease_type, key)
            return there

        there = self.database.read(lambda db: table.find(db, key)) is not None
        return there and (not scope.lease or self.database.write(take))

    def names(self) -> Sequence[str]:
        default = self.default
        return sorted(self._backends, key=lambda name: (name != default, name))

    def flush(self, snapshotter: str = "") -> None:
        self.syncs.flush(snapshotter or self.default)

    def suspects(self) -> Sequence[Suspect]:
        return self.database.read(suspects.listed)

    def trust(self, suspect: Suspect) -> None:
        self.database.write(lambda db: suspects.trust(db, suspect), frees=True)

    def sweeper(self) -> Sweeper:
        return Sweeper(self)

    def _finish_commits(self, name: str, backend: Snapshotter) -> None:
        """Bring commits that a crash interrupted to their end: where the back end has done its part, or never will.

        At the back end's first use and not before: one that hangs is not to hold up the start, nor for long those who
        come meanwhile.

        :raises Unavailable: somebody else is at it and does not come to an end.
        """
        with self._lock:
            if self._finished.get(name) is backend:
                return
            other = self._finishing.get(name)
            if other is None:
                mine = self._finishing[name] = threading.Event()
        if other is not None:
            if not other.wait(PATIENCE):
                raise Unavailable(f"snapshotter {name}: what a crash interrupted there is not finished yet")
            return
        try:
            if self._finish(name, backend):
                self._finished[name] = backend
        finally:
            with self._lock:
                del self._finishing[name]
            mine.set()

    def _finish(self, name: str, backend: Snapshotter) -> bool:
        """False: the back end did not answer, ask again."""
        answered = True
        for table, plan in self.database.read(lambda db: plans(db, name)):
            try:
                end = table.finish if _has(backend, plan.name) else table.drop_plan
                self.database.write(partial(end, plan=plan))
            except ContainerdError as exc:
                fields = {"snapshotter": name, "key": plan.key, "target": plan.target, "error": str(exc)}
                log.warning("an interrupted commit of a snapshot stays open", extra={"fields": fields})
                answered = answered and not isinstance(exc, (Unavailable, DeadlineExceeded))
        if answered:
            suspects.distrust(self.database, name, backend)
            self.syncs.committed(name)  # what the last run has not come to
        return answered


def _has(backend: Snapshotter, name: str) -> bool:
    try:
        backend.stat(name)
    except NotFound:
        return False
    return True
