"""The tasks by name, and the work that is under way for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from pycontainerd.contracts.errors import ContainerdError

from .task import Task

log = logging.getLogger("containerd.tasks")

T = TypeVar("T")


class Table:
    """Used from the event loop; `get` from any thread."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], Task] = {}
        self._work: set[asyncio.Task[Any]] = set()
        self.closing = False

    def get(self, namespace: str, id: str) -> Task | None:  # noqa: A002
        return self._tasks.get((namespace, id))

    def add(self, task: Task) -> bool:
        """Reserve a name; False if it is taken."""
        return self._tasks.setdefault((task.namespace, task.id), task) is task

    def remove(self, task: Task) -> None:
        if self._tasks.get((task.namespace, task.id)) is task:
            del self._tasks[task.namespace, task.id]

    def all(self) -> Sequence[Task]:
        return list(self._tasks.values())

    def shares(self, task: Task) -> bool:
        """Whether another task lives in the same shim."""
        return task.shim is not None and any(
            other is not task and other.shim is not None and other.shim.endpoint.address == task.shim.endpoint.address
            for other in self._tasks.values()
        )

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start ``work``; it is held until it is done."""
        started = asyncio.ensure_future(work)
        self._work.add(started)
        started.add_done_callback(self._done)
        return started

    def _done(self, work: asyncio.Task[Any]) -> None:
        self._work.discard(work)
        error = None if work.cancelled() else work.exception()
        if error is not None and not isinstance(error, ContainerdError):
            # Whoever asked may have gone away, and then nobody else would tell.
            log.error("work for a task failed", exc_info=error)

    async def close(self) -> None:
        """Finish what is under way (not for long), then let go of every shim."""
        self.closing = True
        if self._work:
            _, late = await asyncio.wait(list(self._work), timeout=5.0)
            for work in late:
                work.cancel()
        for task in self.all():
            task.end(None)
        self._tasks.clear()
