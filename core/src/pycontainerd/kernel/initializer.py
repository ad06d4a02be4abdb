"""Starts plugins in the order of the graph, independent ones at the same time, and stops them in reverse.

A plugin can fail in any way it likes (raise, exit, hang): that is an outcome to report, never the daemon's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import attrs

from .calls import call, describe
from .context import Context, Daemon, Logger
from .errors import Later, Skip
from .graph import Graph, resolve
from .registration import Registration, is_type
from .report import State

ConfigFor = Callable[[str, type[Any] | None], Any]
AT_ONCE = 256  # plugins that start at the same time: each may hold a thread until its deadline
NAMED = 8  # of them that a line of the log names
PATIENCE = 3.0  # seconds after which the log says whose start the others wait for


@attrs.define(kw_only=True)
class Outcome:
    """How one plugin's start ended. ``late``: it waits for something outside this process, and is tried again."""

    state: State
    cause: str = ""
    hint: str = ""
    blocked_by: str = ""
    late: bool = False
    instance: Any = None
    context: Context[Any] | None = None
    seconds: float = 0.0


class Initializer:
    """The running set of plugins. Use from the event loop, one change at a time.

    ``config_for(uri, config class)`` gives a plugin's config and raises to fail that plugin alone.
    """

    def __init__(self, registrations: Mapping[str, Registration], daemon: Daemon, config_for: ConfigFor) -> None:
        self.registrations: dict[str, Registration] = dict(registrations)
        self.graph: Graph = resolve(registrations.values())
        self.outcomes: dict[str, Outcome] = {}
        self.config_for = config_for
        self._daemon = daemon
        self._instances: dict[str, Any] = {}  # the same dict for ever: contexts look into it
        self._started: dict[str, None] = {}  # in the order of their start
        self._running: Counter[str] = Counter()  # by type

    async def start(self) -> None:
        """Start every plugin that has no outcome yet or waits for another one; returns when each has an outcome."""
        waiting = {uri for uri in self.graph.order if self._unsettled(uri)}
        sorter = self.graph.sorter()
        sorter.prepare()
        slots = asyncio.Semaphore(AT_ONCE)
        busy: dict[str, None] = {}

        async def run(uri: str) -> None:
            async with slots:
                busy[uri] = None
                self.settle(uri, await self.attempt(self.registrations[uri]))
                del busy[uri]
            go_on(uri)

        def go_on(*done: str) -> None:
            """Begin what may begin after ``done``; a group, and what has its outcome already, is done itself."""
            sorter.done(*done)
            while ready := sorter.get_ready():
                for name in ready:
                    if name in waiting:
                        tasks.create_task(run(name))
                    else:
                        sorter.done(name)

        with _watching(busy):
            async with asyncio.TaskGroup() as tasks:
                go_on()

    async def attempt(self, registration: Registration) -> Outcome:
        """Try to start one plugin; what it needs is not waited for. `settle` makes the outcome count."""
        if registration.platforms and sys.platform not in registration.platforms:
            return Outcome(
                state=State.SKIPPED,
                cause=f"it runs on {', '.join(registration.platforms)}, this is {sys.platform}",
            )
        missing = self._missing(registration)
        if missing is not None:
            return Outcome(state=State.BLOCKED, blocked_by=missing)
        began = time.perf_counter()
        outcome = await self._init(registration)
        outcome.seconds = time.perf_counter() - began
        return outcome

    def settle(self, uri: str, outcome: Outcome) -> None:
        """Record how a start ended; a plugin that is ok is there for the others from now on."""
        self.outcomes[uri] = outcome
        if outcome.state is State.OK:
            self._instances[uri] = outcome.instance
            self._started[uri] = None
            self._running[self.registrations[uri].type] += 1

    def dependents(self, uris: set[str]) -> list[str]:
        """``uris`` and the running plugins that cannot do without them, in the order in which they were started."""
        gone = set(uris)
        # Who requires a plugin was started after it, so one walk sees everything.
        for uri in self._started:
            if uri not in gone and self._missing(self.registrations[uri], gone) is not None:
                gone.add(uri)
        return [uri for uri in self._started if uri in gone]

    async def stop(self, uris: set[str] | None = None) -> list[str]:
        """Stop all, or ``uris`` with their dependents, in reverse order; what fails to close is logged.

        Returns what was stopped. It has no outcome any more, so that the next `start` tries it again.
        """
        stopping = list(self._started) if uris is None else self.dependents(uris)
        for uri in reversed(stopping):
            del self._started[uri]
            self._running[self.registrations[uri].type] -= 1
            instance = self._instances.pop(uri)
            if uris is not None:
                self.outcomes.pop(uri, None)
            await self.close(self.registrations[uri], instance)
        return stopping

    async def close(self, registration: Registration, instance: Any) -> None:
        """Close one instance; a failure is logged."""
        if registration.close is None:
            return
        try:
            await call(registration.close, instance, deadline=registration.deadline, what="close")
        except (Exception, SystemExit) as exc:
            Logger(registration.uri).error("plugin did not close", error=describe(exc))

    def change(self, registrations: Mapping[str, Registration], graph: Graph) -> None:
        """Take another set of registrations; what is no longer in it must have been stopped."""
        self.registrations = dict(registrations)
        self.graph = graph
        for uri in [uri for uri in self.outcomes if uri not in registrations]:
            del self.outcomes[uri]

    def _unsettled(self, uri: str) -> bool:
        outcome = self.outcomes.get(uri)
        return outcome is None or (outcome.state is State.BLOCKED and not outcome.late)

    def _missing(self, registration: Registration, gone: set[str] | None = None) -> str | None:
        """The first requirement that no running plugin (outside of ``gone``) satisfies."""
        return next((name for name in registration.requires if not self._satisfied(name, gone or set())), None)

    def _satisfied(self, name: str, gone: set[str]) -> bool:
        if is_type(name):
            return self._running[name] > sum(
                uri in self._started and self.registrations[uri].type == name for uri in gone
            )
        return name in self._instances and name not in gone

    async def _init(self, registration: Registration) -> Outcome:
        try:
            context = self._context(registration)
        except (Exception, SystemExit) as exc:
            return Outcome(state=State.FAILED, cause=describe(exc))
        try:
            instance = await call(registration.init, context, deadline=registration.deadline, what="init")
        except Skip as skip:
            return Outcome(state=State.SKIPPED, cause=str(skip), context=context)
        except Later as later:
            return Outcome(state=State.BLOCKED, cause=str(later), hint=later.hint, late=True, context=context)
        except (Exception, SystemExit) as exc:
            context.log.debug("plugin failed", error=describe(exc))
            return Outcome(state=State.FAILED, cause=describe(exc), context=context)
        return Outcome(state=State.OK, instance=instance, context=context)

    def _context(self, registration: Registration) -> Context[Any]:
        uri = registration.uri
        context = Context(
            uri=uri,
            config=self.config_for(uri, registration.config),
            root=os.path.join(self._daemon.root, uri),
            state=os.path.join(self._daemon.state, uri),
            daemon=self._daemon,
            loop=asyncio.get_running_loop(),
            log=Logger(uri),
            instances=self._instances,
        )
        for directory in (context.root, context.state):
            os.makedirs(directory, mode=0o711, exist_ok=True)
        return context


@contextlib.contextmanager
def _watching(busy: Collection[str]) -> Iterator[None]:
    """While a start takes long, say every `PATIENCE` seconds whose init it is that takes so long."""

    async def say() -> None:
        seconds = 0.0
        while True:
            await asyncio.sleep(PATIENCE)
            seconds += PATIENCE
            more = f" and {len(busy) - NAMED} more" if len(busy) > NAMED else ""
            Logger("kernel").warning(f"the start waits since {seconds:g} s for {', '.join([*busy][:NAMED])}{more}")

    task = asyncio.ensure_future(say())
    try:
        yield
    finally:
        task.cancel()
