"""What was made before, for lists: who asks for all containers mostly asked a moment ago, and few have changed.

The database is asked each time which containers there are and when each was made and last changed; what is spared is
reading, decoding and encoding the rest of them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from pycontainerd.contracts.containers import Container

BUDGET = 8 << 20  # bytes of specs and extensions that are kept
_FRAME = 1024  # bytes that a record is reckoned at without them

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Known(Generic[K, V]):
    """The values used last, by key; ``budget`` bounds the sum of the sizes they were added with. Thread-safe."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size = 0

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def add(self, key: K, value: V, size: int) -> None:
        """Keep ``value``, in the place of what the key had."""
        with self._lock:
            self._size += size - self._values.pop(key, (value, 0))[1]
            self._values[key] = (value, size)
            while self._size > self._budget:
                self._size -= self._values.popitem(last=False)[1][1]


def size(record: Container) -> int:
    """What ``record`` is reckoned at."""
    values = [record.spec, record.runtime_options, *record.extensions.values()]
    return _FRAME + sum(len(value.value) for value in values if value is not None)
