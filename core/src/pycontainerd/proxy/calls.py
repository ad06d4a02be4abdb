"""Bounds on the calls that are under way to other processes, and a watch over them.

A process that hangs keeps the threads that wait for it. So that it cannot keep all of them: one plugin has at most
``limit`` calls at once, half of that of one kind, and all plugins together ``total``. Who finds no room waits as long
as others still finish; where nothing moves it is turned away at once. What runs long is named in the log.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator

import attrs

from pycontainerd.contracts.errors import ResourceExhausted

log = logging.getLogger("containerd.proxy")

LIMIT = 16  # calls of one plugin, unless its config says otherwise
TOTAL = 24  # of the server's 32 workers: the rest is for what needs no other process
STUCK = 5.0  # seconds without any call's end after which nobody waits for room
SLOW = 10.0  # seconds after which a call is named in the log, and again at every doubling
_LINGER = 5.0  # seconds that the watching thread stays without work

Key = tuple[str, ...]


@attrs.define(eq=False)
class Entry:
    """A call under way. ``due`` is when somebody has to look at it."""

    plugin: str
    call: str
    address: str
    began: float
    due: float
    deadline: float
    cancel: Callable[[], None] | None = None
    cancelled: bool = False

    def sentence(self, now: float) -> str:
        """Who holds this slot, with what, and for how long."""
        return f"{self.plugin} has been in {self.call} at {self.address} for {now - self.began:.0f} s"


class Calls:
    """The calls of all proxies of a daemon. Thread-safe."""

    def __init__(self, total: int = TOTAL, *, stuck: float = STUCK, slow: float = SLOW) -> None:
        self._total = total
        self._stuck = stuck
        self._slow = slow
        self._entries: dict[int, Entry] = {}
        self._numbers = itertools.count()
        self._moved: dict[Key, float] = {}  # when a call of these last ended
        self._changed = threading.Condition()
        self._wake_at: float | None = None  # when the watching thread looks next; None: there is no such thread

    @contextlib.contextmanager
    def take(
        self,
        plugin: str,
        call: str,
        address: str,
        *,
        deadline: float,
        limit: int = LIMIT,
        cancel: Callable[[], None] | None = None,
    ) -> Iterator[Entry]:
        """Room for one call, held while the context is.

        :param deadline: seconds that waiting for room and the call together may take.
        :param cancel: ends the call at its deadline, where the transport does not; must not block.
        :raises ResourceExhausted: there is no room.
        """
        end = time.monotonic() + deadline
        with self._changed:
            self._wait_for_room(plugin, call, limit, end)
            now = time.monotonic()
            due = min(now + self._slow, end) if cancel else now + self._slow
            entry = Entry(plugin, call, address, now, due, end, cancel)
            number = next(self._numbers)
            self._entries[number] = entry
            self._watch(due)
        try:
            yield entry
        finally:
            with self._changed:
                del self._entries[number]
                now = time.monotonic()
                for key in ((), (plugin,), (plugin, call)):
                    self._moved[key] = now
                self._changed.notify_all()

    def under_way(self) -> list[str]:
        """A sentence for each call, the oldest first."""
        now = time.monotonic()
        with self._changed:
            return [entry.sentence(now) for entry in self._entries.values()]

    def _wait_for_room(self, plugin: str, call: str, limit: int, end: float) -> None:
        while (found := self._full(plugin, call, limit)) is not None:
            key, full = found
            moved = max(self._moved.get(key, 0.0), max(entry.began for entry in full))
            until = min(moved + self._stuck, end)
            now = time.monotonic()
            if now >= until:
                raise ResourceExhausted(
                    f"{plugin}: no room for {call}: {len(full)} calls are under way and none of them ends,"
                    f" the oldest: {full[0].sentence(now)}"
                )
            self._changed.wait(until - now)

    def _full(self, plugin: str, call: str, limit: int) -> tuple[Key, list[Entry]] | None:
        """The bound that has been reached, with the calls that fill it, the oldest first."""
        everything = list(self._entries.values())
        own = [entry for entry in everything if entry.plugin == plugin]
        alike = [entry for entry in own if entry.call == call]
        bounds: tuple[tuple[Key, list[Entry], int], ...] = (
            ((), everything, self._total),
            ((plugin,), own, limit),
            ((plugin, call), alike, max(1, limit // 2)),
        )
        return next(((key, entries) for key, entries, most in bounds if len(entries) >= most), None)

    def _watch(self, due: float) -> None:
        """Have somebody look at ``due``; the caller holds the lock."""
        if self._wake_at is None:
            self._wake_at = due
            threading.Thread(target=self._run, daemon=True, name="proxy-watch").start()
        elif due < self._wake_at:
            self._changed.notify_all()

    def _run(self) -> None:
        with self._changed:
            idle_since = time.monotonic()
            while True:
                now = time.monotonic()
                if self._entries:
                    idle_since = now
                elif now - idle_since >= _LINGER:
                    self._wake_at = None
                    return
                for entry in self._entries.values():
                    if entry.due <= now:
                        self._look(entry, now)
                self._wake_at = min((entry.due for entry in self._entries.values()), default=idle_since + _LINGER)
                self._changed.wait(max(0.0, self._wake_at - now))

    def _look(self, entry: Entry, now: float) -> None:
        if entry.cancel is not None and not entry.cancelled and now >= entry.deadline:
            entry.cancelled = True
            entry.cancel()
        elapsed = now - entry.began
        if elapsed >= self._slow:
            fields = {"plugin": entry.plugin, "call": entry.call, "address": entry.address, "seconds": f"{elapsed:.0f}"}
            log.warning(f"a slot is held: {entry.sentence(now)}", extra={"fields": fields})
        entry.due = entry.began + max(2 * elapsed, self._slow)
        if entry.cancel is not None and not entry.cancelled:
            entry.due = min(entry.due, entry.deadline)
