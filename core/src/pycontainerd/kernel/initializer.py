"""Starts plugins in the order of the graph, independent ones at the same time, and stops them in reverse.

A plugin can fail in any way it likes (raise, exit, hang): that is an outcome to report, never the daemon's end.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from .context import Context, Daemon, Logger
from .errors import Skip
from .graph import Graph, resolve
from .registration import Registration, is_type
from .report import State

ConfigFor = Callable[[str, type[Any] | None], Any]


@attrs.define(kw_only=True)
class Outcome:
    """How one plugin's start ended."""

    state: State
    cause: str = ""
    blocked_by: str = ""
    instance: Any = None
    context: Context[Any] | None = None
    seconds: float = 0.0


class Initializer:
    """One start and one stop of a set of plugins.

    ``config_for(uri, config class)`` gives a plugin's config and raises to fail that plugin alone.
    """

    def __init__(self, registrations: Mapping[str, Registration], daemon: Daemon, config_for: ConfigFor) -> None:
        self.registrations = registrations
        self.graph: Graph = resolve(registrations.values())
        self.outcomes: dict[str, Outcome] = {}
        self._daemon = daemon
        self._config_for = config_for
        self._instances: dict[str, Any] = {}
        self._types = {uri: registration.type for uri, registration in registrations.items()}
        self._started: list[str] = []

    async def start(self) -> None:
        """Start every plugin; returns when each has an outcome."""
        done = {uri: asyncio.Event() for uri in self.graph.order}

        async def run(uri: str) -> None:
            for earlier in self.graph.before[uri]:
                await done[earlier].wait()
            self.outcomes[uri] = await self._start_one(self.registrations[uri])
            done[uri].set()

        await asyncio.gather(*(run(uri) for uri in self.graph.order))

    async def stop(self) -> None:
        """Close every started plugin in reverse order; what fails to close is logged and the rest goes on."""
        while self._started:
            uri = self._started.pop()
            registration = self.registrations[uri]
            instance = self._instances.pop(uri)
            if registration.close is not None:
                try:
                    await _call(registration.close, instance, registration.deadline, f"close {uri}")
                except (Exception, SystemExit) as exc:
                    Logger(uri).error("plugin did not close", error=_describe(exc))

    async def _start_one(self, registration: Registration) -> Outcome:
        if registration.platforms and sys.platform not in registration.platforms:
            return Outcome(
                state=State.SKIPPED,
                cause=f"it runs on {', '.join(registration.platforms)}, this is {sys.platform}",
            )
        missing = next((name for name in registration.requires if not self._satisfied(name)), None)
        if missing is not None:
            return Outcome(state=State.BLOCKED, blocked_by=missing)
        began = time.perf_counter()
        outcome = await self._init(registration)
        outcome.seconds = time.perf_counter() - began
        if outcome.state is State.OK:
            self._instances[registration.uri] = outcome.instance
            self._started.append(registration.uri)
        return outcome

    def _satisfied(self, name: str) -> bool:
        if is_type(name):
            return any(self._types.get(uri) == name for uri in self._instances)
        return name in self._instances

    async def _init(self, registration: Registration) -> Outcome:
        try:
            context = self._context(registration)
        except (Exception, SystemExit) as exc:
            return Outcome(state=State.FAILED, cause=_describe(exc))
        try:
            instance = await _call(registration.init, context, registration.deadline, "init")
        except Skip as skip:
            return Outcome(state=State.SKIPPED, cause=str(skip), context=context)
        except (Exception, SystemExit) as exc:
            context.log.debug("plugin failed", error=_describe(exc))
            return Outcome(state=State.FAILED, cause=_describe(exc), context=context)
        return Outcome(state=State.OK, instance=instance, context=context)

    def _context(self, registration: Registration) -> Context[Any]:
        uri = registration.uri
        context = Context(
            uri=uri,
            config=self._config_for(uri, registration.config),
            root=os.path.join(self._daemon.root, uri),
            state=os.path.join(self._daemon.state, uri),
            daemon=self._daemon,
            loop=asyncio.get_running_loop(),
            log=Logger(uri),
            instances=self._instances,
            types=self._types,
        )
        for directory in (context.root, context.state):
            os.makedirs(directory, mode=0o711, exist_ok=True)
        return context


def _describe(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return f"it called sys.exit({exc.code!r})"
    return str(exc) or type(exc).__name__


async def _call(function: Callable[[Any], Any], argument: Any, deadline: float, what: str) -> Any:
    """Call ``function`` where it belongs (loop or thread) and give it ``deadline`` seconds."""
    try:
        if inspect.iscoroutinefunction(function):
            return await asyncio.wait_for(function(argument), deadline)
        return await asyncio.wait_for(_in_thread(function, argument), deadline)
    except TimeoutError:
        raise TimeoutError(f"its {what} did not finish in {deadline:g} s") from None


def _in_thread(function: Callable[[Any], Any], argument: Any) -> asyncio.Future[Any]:
    """Run ``function`` in a daemon thread of its own: one that hangs holds neither a pool's slot nor the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def deliver(result: Any, exc: BaseException | None) -> None:
        if not future.done():
            if exc is None:
                future.set_result(result)
            else:
                future.set_exception(exc)

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = function(argument)
        except SystemExit as exc:
            error = RuntimeError(_describe(exc))
        except BaseException as exc:
            error = exc if isinstance(exc, Exception) else RuntimeError(_describe(exc))
        try:
            loop.call_soon_threadsafe(deliver, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=run, daemon=True, name="plugin").start()
    return future
