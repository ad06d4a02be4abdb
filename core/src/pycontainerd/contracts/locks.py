"""Locks by name, made when they are wanted and gone when nobody does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Iterator

import attrs


@attrs.define(eq=False)
class _Entry:
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    users: int = 0


class KeyedLocks:
    """``with locks.hold(key):`` excludes others with the same key only. Not re-entrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    @contextlib.contextmanager
    def hold(self, key: Hashable) -> Iterator[None]:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.users += 1
        try:
            with entry.lock:
                yield
        finally:
            with self._lock:
                entry.users -= 1
                if not entry.users:
                    del self._entries[key]
