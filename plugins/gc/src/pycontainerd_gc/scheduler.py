"""Runs collections when the timetable says so, one at a time, in a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from pycontainerd.contracts.errors import ContainerdError, Unavailable
from pycontainerd.contracts.gc import Change, Collected
from pycontainerd.kernel.context import Logger

from . import labels
from .collector import Collector
from .config import Config
from .timetable import Timetable

LONGEST_SLEEP = 60.0  # seconds; a clock that is set, or a machine that slept, moves expiries


class Scheduler:
    """The thread and its callers. ``make`` gets what hears of changes and gives the collector."""

    def __init__(
        self, timetable: Timetable, make: Callable[[Callable[[Change], None]], Collector], log: Logger
    ) -> None:
        self._timetable = timetable
        self._log = log
        self._wake = threading.Condition()
        self._waiting: list[Future[Collected]] = []
        self._served: list[Future[Collected]] = []
        self._ended = False
        self.collections = 0
        self.failures = 0
        self.last = Collected()
        self.collector = make(self._changed)
        self._thread = threading.Thread(target=self._run, name="gc-scheduler", daemon=True)

    def start(self) -> None:
        """Hear of changes and begin to work."""
        self.collector.watch()
        self._thread.start()

    def configure(self, config: Config) -> None:
        """Go by these settings from now on."""
        with self._wake:
            self._timetable.configure(config)

    def collect(self) -> Collected:
        """Have a collection that begins after this call, and wait for its end.

        :raises Unavailable: the daemon is stopping.
        :raises ContainerdError: the collection failed.
        """
        answer: Future[Collected] = Future()
        with self._wake:
            if self._ended:
                raise Unavailable("no collection: the daemon is stopping")
            self._waiting.append(answer)
            self._timetable.requested(time.monotonic())
            self._wake.notify()
        return answer.result()

    def close(self) -> None:
        """End the collection under way, as soon as it can be, and begin none after it."""
        self.collector.stopping = True
        with self._wake:
            self._ended = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _changed(self, change: Change) -> None:
        """A row was written. Called in the thread that writes: it must be quick."""
        until = labels.expiry(change.labels) if change.labels else change.expires / 1e9 or None
        with self._wake:
            before = self._timetable.due
            now = time.monotonic()
            self._timetable.changed(now, removed=change.removed)
            if until is not None:
                self._timetable.expires(now + until - time.time())
            if self._timetable.due < before:
                self._wake.notify()

    def _run(self) -> None:
        while self._sleep():
            try:
                result = self.collector.collect(self._began)
            except Exception as exc:
                self._failed(exc)
            else:
                self._succeeded(result)
        for answer in [*self._served, *self._waiting]:
            answer.set_exception(Unavailable("no collection: the daemon is stopping"))

    def _sleep(self) -> bool:
        """Wait until one is due; False: never again."""
        with self._wake:
            while not self._ended:
                left = self._timetable.due - time.monotonic()
                if left <= 0:
                    return True
                self._wake.wait(None if math.isinf(left) else min(left, LONGEST_SLEEP))
        return False

    def _began(self) -> None:
        with self._wake:
            self._timetable.began()
            self._served += self._waiting
            self._waiting = []

    def _succeeded(self, result: Collected) -> None:
        with self._wake:
            now = time.monotonic()
            self._timetable.ended(now, result.mark + result.transactions)
            self._timetable.expires(now + self.collector.next_expiry - time.time())
            if result.spared:  # some of it may have been touched by what is garbage itself
                self._timetable.changed(now, removed=True)
            self.collections += 1
            self.last = result
            served, self._served = self._served, []
        level = self._log.info if any(result.removed.values()) else self._log.debug
        level(
            "collected",
            seconds=round(result.mark + result.transactions + result.removal, 4),
            bytes=result.bytes,
            **dict(result.removed),
        )
        for answer in served:
            answer.set_result(result)

    def _failed(self, exc: Exception) -> None:
        with self._wake:
            self._timetable.failed(time.monotonic())
            self.failures += 1
            failed, self._served, self._waiting = [*self._served, *self._waiting], [], []
        self._log.error("collection failed", exc=None if isinstance(exc, ContainerdError) else exc, error=str(exc))
        for answer in failed:
            answer.set_exception(exc)
