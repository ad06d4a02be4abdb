"""Who of those that want to write does it, for all of them.

There is no thread for it: to hand a function to one and to be woken again takes longer than the commit. Who comes while
nobody writes does so at once, itself; who comes meanwhile waits, and when the writer is done, the first of those who
wait writes for all that came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs

from pycontainerd.contracts.errors import Internal


@attrs.define(eq=False)
class Work:
    """A function to run on the writing connection, and what came of it."""

    function: Callable[..., Any]
    frees: bool
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    _wake: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def sleep(self) -> None:
        """Until `wake`."""
        self._wake.acquire()

    def wake(self) -> None:
        self._wake.release()

    def __attrs_post_init__(self) -> None:
        self._wake.acquire()


class Turns:
    """Runs ``commit`` on what is waiting, at most ``most`` at a time and never twice at once. Thread-safe."""

    def __init__(self, commit: Callable[[list[Work]], None], most: int) -> None:
        self._commit = commit
        self._most = most
        self._idle = threading.Condition(threading.Lock())
        self._waiting: list[Work] = []
        self._writer = 0  # the thread whose turn it is
        self._busy = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait for the commit under way to end."""
        return len(self._waiting)

    def take(self, work: Work) -> bool:
        """Have ``work`` done, in this thread or another's; False: it was not, for it is closed."""
        if self._writer == threading.get_ident():
            raise Internal("a function that writes to the metadata database asked for another write within its own")
        with self._idle:
            if self._closed:
                return False
            self._waiting.append(work)
            first, self._busy = not self._busy, True
        if not first:
            work.sleep()
        if not work.done:
            self._lead()
        return True

    def close(self) -> None:
        """Take nothing more; returns when what was waiting is done."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: not self._busy)

    def _lead(self) -> None:
        with self._idle:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._writer = threading.get_ident()
        try:
            self._commit(batch)
        except BaseException as exc:  # whatever it was, nobody may take it for done
            for work in batch:
                work.error = work.error or exc
        finally:
            self._writer = 0
            self._pass_on(batch)

    def _pass_on(self, batch: list[Work]) -> None:
        """Wake those whose work is done, and who is next: it leads, for its work is not."""
        with self._idle:
            following = self._waiting[:1]
            self._busy = bool(following)
            if not self._busy:
                self._idle.notify_all()
        for work in batch:
            work.done = True
            work.wake()
        for work in following:
            work.wake()
