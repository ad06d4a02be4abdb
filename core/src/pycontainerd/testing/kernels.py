"""A kernel with nothing in it but the registrations it is given, running on a loop of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from pycontainerd.config import load
from pycontainerd.kernel import Daemon, Kernel, Registration, Report, Row
from pycontainerd.kernel.discovery import Found
from pycontainerd.kernel.registration import name_in

_PATIENCE = 60.0  # seconds


class RunningKernel:
    """Starts and stops plugins as the daemon does, in this process.

    ``config`` is TOML text of the latest version, as in the daemon's file.
    """

    def __init__(self, directory: str, registrations: Sequence[Registration], config: str = "") -> None:
        os.makedirs(directory, exist_ok=True)
        path = f"{directory}/config.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"version = 4\n{config}")
        self._registrations = {one.uri: one for one in registrations}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="kernel")
        daemon = Daemon(f"{directory}/root", f"{directory}/state")
        self._kernel = Kernel(daemon, load(path), find=self._find)

    def _find(self, disabled: Collection[str]) -> Mapping[str, Found]:
        found = {uri: Found(uri, "test", "0", registration=one) for uri, one in self._registrations.items()}
        return {
            uri: attrs.evolve(one, registration=None) if name_in(disabled, uri) else one for uri, one in found.items()
        }

    def start(self) -> None:
        """Start the plugins; how each fared is in `row`."""
        self._thread.start()
        self._run(self._kernel.start())

    def stop(self) -> None:
        """Stop them, in reverse order."""
        if not self._loop.is_closed():
            self._run(self._kernel.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_PATIENCE)
            self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    @property
    def report(self) -> Report:
        """Where each plugin stands."""
        return self._kernel.report

    def row(self, uri: str) -> Row:
        """Where the plugin ``uri`` stands: `Row.state`, `Row.cause`, `Row.sentence`."""
        return self._kernel.report.rows[uri]

    def instance(self, uri: str) -> Any:
        """What its init returned.

        :raises AssertionError: it is not up; says why.
        """
        row = self.row(uri)
        found = self._kernel.instances(row.type)
        assert row.id in found, row.sentence
        return found[row.id]
