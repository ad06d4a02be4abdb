"""Reads the configuration anew and brings the running daemon to it, on SIGHUP or when a client asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import attrs

from pycontainerd.config import Settings
from pycontainerd.kernel import Kernel

from .apply import ReloadError, reload
from .changes import Change, Verdict
from .logs import configure
from .plugindir import finder
from .sdnotify import notify

log = logging.getLogger("containerd")

_KERNELS = ("plugins", "proxy_plugins", "disabled_plugins")  # whose keys the kernel speaks of
_READ_ANEW = ("version", "imports", "required_plugins")  # say nothing of the running daemon
_LOGGING = ("debug.level", "debug.format")


@attrs.frozen
class Reloaded:
    """How a reload ended. Not ``accepted``: ``problems`` has every reason, and nothing changed."""

    accepted: bool
    changes: list[Change] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)


class Reloader:
    """Reloads of one daemon, one at a time.

    :param path: the config file that the daemon was started with, or empty.
    :param settings: the configuration that is in force.
    :param overridden: names of main keys that the command line decides.
    """

    def __init__(self, path: str, settings: Settings, kernel: Kernel, overridden: Mapping[str, str]) -> None:
        self._path = path
        self._kernel = kernel
        self._overridden = overridden
        self._first = settings
        self._running: dict[str, Any] | None = None
        self._lock = asyncio.Lock()

    async def reload(self, dry_run: bool) -> Reloaded:
        """Validate, compare, apply; what cannot be applied is said. Never raises for a bad configuration."""
        async with self._lock:
            if not dry_run:
                notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")
            try:
                reloaded = await self._reload(dry_run=dry_run)
            finally:
                if not dry_run:
                    notify("READY=1", "STATUS=serving")
        if not dry_run:
            _say(reloaded)
        return reloaded

    async def _reload(self, *, dry_run: bool) -> Reloaded:
        from pycontainerd.config.check import check

        find = finder(self._overridden.get("plugin_dir", ""))
        findings, settings = await asyncio.to_thread(check, self._path, find)
        problems = [str(finding) for finding in findings if finding.severity == "error"]
        warnings = [str(finding) for finding in findings if finding.severity == "warning"]
        if problems:
            return Reloaded(accepted=False, problems=problems, warnings=warnings)
        try:
            changes = await reload(self._kernel, settings, dry_run=dry_run)
        except ReloadError as exc:
            return Reloaded(accepted=False, problems=list(exc.problems), warnings=warnings)
        return Reloaded(accepted=True, changes=[*self._own(settings, dry_run=dry_run), *changes], warnings=warnings)

    def _own(self, settings: Settings, *, dry_run: bool) -> list[Change]:
        """The daemon's own keys: those of the log apply at once, the rest with the next start."""
        if self._running is None:
            self._running = _leaves(self._first)
        new = _leaves(settings)
        changes = []
        for key in sorted({*new, *self._running}):
            if new.get(key) == self._running.get(key):
                continue
            if key in _LOGGING and "log_level" not in self._overridden:
                changes.append(Change(key, Verdict.APPLIED))
                if not dry_run:
                    self._running[key] = new.get(key)
            else:
                beaten = key.replace("debug.level", "log_level") in self._overridden
                changes.append(
                    Change(key, Verdict.RESTART, message="the command line says otherwise" if beaten else "")
                )
        if not dry_run and any(change.verdict is Verdict.APPLIED for change in changes):
            configure(new.get("debug.level") or "info", new.get("debug.format") or "text")
        return changes


def _leaves(settings: Settings) -> dict[str, Any]:
    """The daemon's own keys, dotted, with their effective values."""
    from pycontainerd.config.document import dotted, leaves
    from pycontainerd.config.plugins import Plugins
    from pycontainerd.config.show import effective

    values = effective(settings, Plugins({}, {}))
    return {dotted(path): value for path, value in leaves(values) if path[0] not in (*_KERNELS, *_READ_ANEW)}


def _say(reloaded: Reloaded) -> None:
    for warning in reloaded.warnings:
        log.warning(f"reload: {warning}")
    if not reloaded.accepted:
        for problem in reloaded.problems:
            log.error(f"reload: {problem}")
        log.error("reload: the configuration is not taken; the daemon goes on as it was")
        return
    for change in reloaded.changes:
        level = logging.WARNING if change.verdict is Verdict.REJECTED else logging.INFO
        log.log(level, f"reload: {change.sentence}")
    log.info("reload: done" if reloaded.changes else "reload: nothing changed")
