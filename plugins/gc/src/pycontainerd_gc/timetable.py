"""When the next collection is due. Pure: it is told what happens and what time it is (seconds of a steady clock).

The rules are those of the Go containerd's scheduler, without its polling: a removal makes a collection due when the
pause since the last one is long enough for what a collection costs, and so do enough other changes; a request or enough
removals make it due at once. Besides, one is due when something expires.
"""

from __future__ import annotations

import math

from .config import Config

LEAST_COST = 0.005  # seconds; so that cheap collections do not come one after the other
MOST_PAUSE = 0.5  # the highest pause_threshold


class Timetable:
    """One collector's. Not thread-safe."""

    def __init__(self, config: Config, now: float) -> None:
        self.configure(config)
        startup = max(0.0, config.startup_seconds)
        self._urgent = now + startup if startup else math.inf
        self._wanted = math.inf  # but not before `_earliest`
        self._expiry = math.inf  # likewise
        self._earliest = now
        self._cost = 0.0
        self._count = 0
        self._deletions = 0
        self._mutations = 0

    def configure(self, config: Config) -> None:
        """Go by these settings from now on."""
        self._delay = max(0.0, config.schedule_seconds)
        self._pause = min(max(0.0, config.pause_threshold), MOST_PAUSE)
        self._deletion_threshold = config.deletion_threshold
        self._mutation_threshold = max(0, config.mutation_threshold)

    @property
    def due(self) -> float:
        """When the next collection is due; infinity: not before something happens."""
        return min(self._urgent, max(self._earliest, min(self._wanted, self._expiry)))

    def changed(self, now: float, *, removed: bool) -> None:
        """A row was written; ``removed``: in a way that may leave garbage."""
        self._mutations += 1
        self._deletions += removed
        if self._deletion_threshold > 0 and self._deletions >= self._deletion_threshold:
            self.requested(now)
        elif self._deletions or 0 < self._mutation_threshold <= self._mutations:
            self._wanted = min(self._wanted, now + self._delay)

    def requested(self, now: float) -> None:
        """Somebody wants one."""
        self._urgent = min(self._urgent, now + self._delay)

    def expires(self, at: float) -> None:
        """Something expires ``at`` that time."""
        self._expiry = min(self._expiry, at)

    def began(self) -> None:
        """A collection begins: what is written from now on is for the next one."""
        self._urgent = self._wanted = self._expiry = math.inf
        self._deletions = self._mutations = 0

    def ended(self, now: float, cost: float) -> None:
        """It ended well and kept clients from ``cost`` seconds of the store."""
        self._cost += max(0.0, cost)
        self._count += 1
        self._earliest = now + self.interval

    def failed(self, now: float) -> None:
        """It failed: it is tried again."""
        self._earliest = now + self.interval + 1
        self._wanted = min(self._wanted, now)

    @property
    def interval(self) -> float:
        """The least pause between collections that nobody asked for."""
        if not self._pause or not self._count:
            return 1.0
        average = max(self._cost / self._count, LEAST_COST)
        return average / self._pause - average
