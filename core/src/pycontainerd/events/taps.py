"""Event taps: the hook ``event_published``. Each plugin listens in a thread of its own, behind a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from pycontainerd.contracts.events import Envelope
from pycontainerd.kernel.context import Logger
from pycontainerd.kernel.hooks import HookError, Implementation, Implementations

BACKLOG = 16384  # events a tap may be behind
_HOOK = "event_published"


class Taps:
    """Passes every event on to the plugins that listen. A tap can neither delay nor fail a publisher.

    ``opened`` makes a record of an event that came encoded.
    """

    def __init__(
        self,
        implementations: Implementations,
        opened: Callable[[Envelope], Envelope],
        log: Logger,
        *,
        backlog: int = BACKLOG,
    ) -> None:
        self._implementations = implementations
        self._opened = opened
        self._log = log
        self._backlog = backlog
        self._taps: dict[str, _Tap] = {}
        self._refused = ""

    def offer(self, envelope: Envelope) -> None:
        """Take an event; never waits and never raises. Called by one publisher at a time, in the order of events."""
        try:
            listening = self._implementations.of(_HOOK)
        except HookError as exc:
            if str(exc) != self._refused:
                self._refused = str(exc)
                self._log.error("events are not passed to plugins", error=str(exc))
            return
        if not listening and not self._taps:
            return
        for one in listening:
            tap = self._taps.get(one.uri)
            if tap is None or tap.implementation != one:
                if tap is not None:
                    tap.close()
                tap = self._taps[one.uri] = _Tap(one, self._opened, self._backlog)
            tap.offer(envelope)
        for uri in set(self._taps) - {one.uri for one in listening}:
            self._taps.pop(uri).close()

    def close(self) -> None:
        """End the threads once each has passed on what it has; does not wait for them."""
        for tap in self._taps.values():
            tap.close()


class _Tap:
    """One plugin's queue and thread."""

    def __init__(self, implementation: Implementation, opened: Callable[[Envelope], Envelope], backlog: int) -> None:
        self.implementation = implementation
        self._opened = opened
        self._backlog = backlog
        self._log = Logger(implementation.uri)
        self._queue: deque[Envelope] = deque()
        self._lost = 0
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True, name="event tap").start()

    def offer(self, envelope: Envelope) -> None:
        with self._changed:
            if len(self._queue) < self._backlog:
                self._queue.append(envelope)
                self._changed.notify()
            else:
                self._lost += 1

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
                envelope = self._queue.popleft()
                lost, self._lost = self._lost, 0
            if lost:
                self._log.warning("the plugin is slow: it has lost events", events=lost, hook=_HOOK)
            try:
                self.implementation.call(envelope=self._opened(envelope))
            except HookError as exc:
                self._log.error("hook failed", error=str(exc), topic=envelope.topic)
