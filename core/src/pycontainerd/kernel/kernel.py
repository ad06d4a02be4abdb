"""The kernel as the daemon sees it: start, stop, report."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import attrs

from .context import Daemon, Logger
from .discovery import Found, discover
from .errors import DuplicatePluginError, RequiredPluginError
from .initializer import Initializer
from .registration import Registration, name_in
from .report import Report, State
from .rows import report

FIRST_PAUSE = 0.25  # seconds before a late plugin is tried again; doubled each time
LONGEST_PAUSE = 5.0


class Settings(Protocol):
    """What the kernel wants to know of the configuration."""

    @property
    def disabled(self) -> Mapping[str, str]:
        """Disabled URIs, each with where that was said (``file:line``)."""
        ...

    @property
    def required(self) -> Mapping[str, str]:
        """URIs that must be ok, each with where that was said."""
        ...

    def plugin(self, uri: str, config: type[Any] | None) -> Any:
        """The config of a plugin, or raise to fail that plugin alone."""
        ...


def _nothing(_settings: Settings) -> Mapping[str, Found]:
    return {}


class Kernel:
    """Finds the installed plugins, starts what is enabled, and knows the state of all. Use from the event loop.

    ``extra`` gives the plugins that the configuration itself makes: proxies.
    """

    def __init__(
        self,
        daemon: Daemon,
        settings: Settings,
        *,
        find: Callable[..., Mapping[str, Found]] = discover,
        extra: Callable[[Any], Mapping[str, Found]] = _nothing,
    ) -> None:
        self._daemon = daemon
        self._settings = settings
        self._find = find
        self._extra = extra
        self._found: Mapping[str, Found] = {}
        self._initializer: Initializer | None = None
        self._changing = asyncio.Lock()
        self._late: dict[str, asyncio.Task[None]] = {}
        self._log = Logger("kernel")
        daemon.report = lambda: self.report

    async def start(self) -> None:
        """Start everything that is enabled.

        :raises DuplicatePluginError: one URI comes from two distributions.
        :raises CycleError: plugins require each other in a circle.
        :raises RequiredPluginError: a plugin in ``required_plugins`` is not ok; everything is stopped again.
        """
        self._found = self.look(self._settings)
        registrations = {uri: found.registration for uri, found in self._found.items() if found.registration}
        self._initializer = Initializer(registrations, self._daemon, self._settings.plugin)
        async with self._changing:
            await self._initializer.start()
        self._say()
        current = self.report
        for uri, where in self._settings.required.items():
            row = current.rows.get(uri)
            if row is None or row.state is not State.OK:
                await self.stop()
                raise RequiredPluginError(f"{current.why(uri)}; it is required at {where}")
        self._wait_for_late()

    async def stop(self) -> None:
        """Stop in reverse order of start."""
        late = list(self._late.values())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if self._initializer is not None:
            async with self._changing:
                await self._initializer.stop()

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[Initializer]:
        """The running set of plugins, for one change that no other comes between."""
        assert self._initializer is not None, "a kernel that was not started has nothing to change"
        async with self._changing:
            yield self._initializer
        self._wait_for_late()

    def adopt(self, settings: Settings, found: Mapping[str, Found]) -> None:
        """Take another configuration and the plugins that `look` found under it. Only while `changing`."""
        assert self._initializer is not None
        self._settings, self._found = settings, found
        self._initializer.config_for = settings.plugin

    def look(self, settings: Settings) -> Mapping[str, Found]:
        """Every plugin there is under ``settings``; what is imported already stays as it is.

        :raises DuplicatePluginError: one URI comes from two places.
        """
        now = self._found
        kept = {
            uri: one
            for uri, one in now.items()
            if one.registration is not None and one.made_of is None and not name_in(settings.disabled, uri)
        }
        found = {**self._find({**settings.disabled, **dict.fromkeys(kept, "")}), **kept}
        for uri, one in self._extra(settings).items():
            if uri in found:
                raise DuplicatePluginError(uri, [found[uri].distribution, one.distribution])
            old = now.get(uri)
            same = old is not None and old.registration is not None and old.made_of == one.made_of
            off = name_in(settings.disabled, uri)
            found[uri] = attrs.evolve(one, registration=None) if off else old if same and old is not None else one
        return found

    def _wait_for_late(self) -> None:
        """Have a task for each plugin that waits for something outside this process."""
        assert self._initializer is not None
        for uri, outcome in self._initializer.outcomes.items():
            if outcome.late and uri not in self._late:
                task = asyncio.ensure_future(self._bind(uri))
                self._late[uri] = task
                task.add_done_callback(lambda _task, uri=uri: self._late.pop(uri, None))  # type: ignore[misc]

    async def _bind(self, uri: str) -> None:
        """Try to start a late plugin until that ends in something, then start what waits for it."""
        assert self._initializer is not None
        initializer = self._initializer
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            if not self._is_late(uri):
                return
            registration = initializer.registrations[uri]
            outcome = await initializer.attempt(registration)
            async with self._changing:
                if not self._is_late(uri) or initializer.registrations[uri] is not registration:
                    if outcome.state is State.OK:  # a reload came in between
                        await initializer.close(registration, outcome.instance)
                    continue
                initializer.settle(uri, outcome)
                if outcome.late:
                    continue
                await initializer.start()
            row = self.report.rows[uri]
            (self._log.info if row.state is State.OK else self._log.warning)(f"late plugin: {row.sentence}")
            self._wait_for_late()
            return

    def _is_late(self, uri: str) -> bool:
        outcome = self._initializer.outcomes.get(uri) if self._initializer is not None else None
        return outcome is not None and outcome.late

    def instances(self, type: str) -> dict[str, Any]:  # noqa: A002 - the field's name
        """Running plugins of ``type``, by id."""
        if self._initializer is None:
            return {}
        return {
            uri.removeprefix(f"{type}."): outcome.instance
            for uri, outcome in self._initializer.outcomes.items()
            if outcome.state is State.OK and self._initializer.registrations[uri].type == type
        }

    @property
    def report(self) -> Report:
        """Where every known plugin stands now."""
        outcomes = self._initializer.outcomes if self._initializer is not None else {}
        return report(self._found, outcomes, self._settings.disabled)

    @property
    def registrations(self) -> Mapping[str, Registration]:
        """The registrations of all imported plugins."""
        return self._initializer.registrations if self._initializer is not None else {}

    def _say(self) -> None:
        """Log what did not start: failures one by one, expected absences in one line."""
        current = self.report
        for sentence in current.problems():
            self._log.warning(sentence)
        if absent := current.absent():
            self._log.info("not started: " + ", ".join(absent))
