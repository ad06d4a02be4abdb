"""One collection: mark on a snapshot of the records, then take what is garbage, a few at a time.

Each batch is one short write transaction that looks again: what was written since the mark began is taken in first
(`Marking.revive`), and what that leads to stays. Files are deleted after it, outside of every lock and transaction.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import Aborted, Unavailable
from pycontainerd.contracts.gc import SNAPSHOTS, Change, Collected, Inventory, Node, Removed
from pycontainerd.contracts.types import now as current_time

from .mark import Marking

Choose = Callable[[Marking], Mapping[Node, str]]

BATCH = 100  # removals in one transaction: a client's write waits for one such at most
REST = 0.0005  # seconds between two strides of work, for whoever wants the interpreter


def pause() -> None:
    """Let others have the interpreter: a sleep of 0 would mostly take it right back."""
    time.sleep(REST)


class Collector:
    """Collects when told to; ``changed`` hears of every row that anyone but a collection writes, in the writing thread."""

    def __init__(self, database: Database, inventory: Inventory, changed: Callable[[Change], None]) -> None:
        self._database = database
        self._inventory = inventory
        self._changed = changed
        self._running = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._touched: set[Node] | None = None  # of the collection under way; only the writing thread uses it
        self._sweeping = False  # likewise
        self.next_expiry = float("inf")
        self.stopping = False  # set it to end the collection under way at the next batch

    def watch(self) -> None:
        """Hear of changes from now on."""
        self._database.write(self._watch, frees=True)

    def collect(self, began: Callable[[], None] = lambda: None) -> Collected:
        """Collect. ``began`` is called in the writing thread: what was committed before it, this collection knows."""
        with self._running:
            started = current_time()
            clock = time.monotonic()
            self._database.write(lambda db: self._begin(db, began), frees=True)
            try:
                marking = self._database.read(self._mark)
                garbage = marking.garbage()
                self.next_expiry = marking.next_expiry
                marked = time.monotonic()
                counts, freed, spent = self._sweep(marking, garbage)
            finally:
                self._database.write(self._end, frees=True)
            gone = sum(counts.values())
            self._inventory.reconcile()
            return Collected(
                mark=marked - clock,
                transactions=spent,
                removal=time.monotonic() - marked - spent,
                removed=counts,
                bytes=freed,
                spared=len(garbage) - gone,
                started_at=started,
            )

    def prune(self, choose: Choose, *, dry_run: bool) -> tuple[list[Node], Mapping[Node, str]]:
        """A collection in which what ``choose`` says keeps nothing, not even itself; what goes, and the reasons it gave.

        With ``dry_run`` nothing goes, but is said all the same. What is garbage anyway is left to collections.
        """
        with self._running:
            self._database.write(lambda db: self._begin(db, lambda: None), frees=True)
            try:
                before = self.marking(all_labels=True)
                reasons = choose(before)
                after = Marking(before.entries.values(), before.now, pause, without=reasons)
                doomed = [node for node in after.garbage() if before.live(node)]
                if not dry_run:
                    went: list[Node] = []
                    self._sweep(after, doomed, went)
                    doomed = went
            finally:
                self._database.write(self._end, frees=True)
            if not dry_run:
                self._inventory.reconcile()
            return doomed, reasons

    def marking(self, *, all_labels: bool = False) -> Marking:
        """What is kept now, for those who only want to look."""
        return self._database.read(
            lambda db: Marking(self._inventory.entries(db, all_labels=all_labels), time.time(), pause)
        )

    def _mark(self, db: sqlite3.Connection) -> Marking:
        return Marking(self._inventory.entries(db), time.time(), pause)

    def _sweep(
        self, marking: Marking, garbage: Sequence[Node], went: list[Node] | None = None
    ) -> tuple[Counter[str], int, float]:
        """Take ``garbage``; what went by kind, the bytes of blobs, and the seconds spent in transactions."""
        counts: Counter[str] = Counter()
        freed, spent = 0, 0.0
        for first in range(0, len(garbage), BATCH):
            batch = garbage[first : first + BATCH]
            clock = time.monotonic()
            removed = self._database.write(partial(self._take, marking=marking, batch=batch), frees=True)
            spent += time.monotonic() - clock
            if went is not None:
                went += removed.nodes
            freed += self._inventory.discard(removed)
            counts.update("snapshots" if node.kind.startswith(SNAPSHOTS) else node.kind for node in removed.nodes)
            if self.stopping:
                raise Unavailable("the collection ends early: the daemon is stopping")
            pause()
        return counts, freed, spent

    def _take(self, db: sqlite3.Connection, marking: Marking, batch: Sequence[Node]) -> Removed:
        if db is not self._connection or self._touched is None:
            raise Aborted("the collection ends early: the metadata database was opened anew while it ran")
        touched, self._touched = list(self._touched), set()
        marking.revive(touched, self._inventory.lookup(db, touched))
        self._sweeping = True
        try:
            return self._inventory.forget(db, [node for node in batch if not marking.live(node)])
        finally:
            self._sweeping = False

    def _begin(self, db: sqlite3.Connection, began: Callable[[], None]) -> None:
        self._watch(db)
        self._touched = set()
        began()

    def _end(self, _db: sqlite3.Connection) -> None:
        self._touched = None

    def _watch(self, db: sqlite3.Connection) -> None:
        self._inventory.watch(db, self._note)
        self._connection = db

    def _note(self, change: Change) -> None:
        if self._sweeping:
            return
        if self._touched is not None:
            self._touched.add(change.node)
        self._changed(change)
