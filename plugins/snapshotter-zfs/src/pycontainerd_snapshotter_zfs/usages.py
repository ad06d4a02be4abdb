"""Questions that are asked at the same time, answered by one command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from pycontainerd.contracts.errors import ContainerdError, NotFound

Ask = Callable[..., Mapping[int, int]]


class _Round:
    """Who asks in the same round."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.done = threading.Event()
        self.answers: Mapping[int, int] = {}
        self.failure: ContainerdError | None = None


class Usages:
    """``ask(*numbers)`` is one command at a time; whoever comes while it runs is in the next, so no answer is old."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._next = _Round()

    def get(self, number: int) -> int:
        """:raises NotFound: it is not there."""
        with self._lock:
            mine = self._next
            mine.numbers.add(number)
        with self._asking:
            if not mine.done.is_set():  # the first of the round to get here asks for all of it
                with self._lock:
                    self._next = _Round()
                self._answer(mine)
        if mine.failure is not None:
            raise mine.failure
        if number not in mine.answers:
            raise NotFound(f"the dataset of snapshot number {number} is gone")
        return mine.answers[number]

    def _answer(self, current: _Round) -> None:
        try:
            current.answers = self._ask(*sorted(current.numbers))
        except ContainerdError as exc:
            current.failure = exc
        finally:
            current.done.set()
