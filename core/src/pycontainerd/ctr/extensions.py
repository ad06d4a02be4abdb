"""Commands of ``ctr`` that plugins bring: the hook ``ctr_command``. Looked for only where ``ctr`` itself has no such command.

The name of a command is the id of its plugin, so that they are listed without an import, and one that is called does not
import the others. ``disabled_plugins`` counts here as well: that of the configuration on this machine.
"""

from __future__ import annotations

import os
import sys

import click

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.contracts.hooks import COMMAND, MARK, Hooks
from pycontainerd.kernel.calls import describe
from pycontainerd.kernel.discovery import installed, modules
from pycontainerd.kernel.errors import KernelError
from pycontainerd.kernel.hooks import Implementations
from pycontainerd.kernel.registration import name_in

CONFIG = "CONTAINERD_CONFIG"


def listed() -> list[str]:
    """The names of the commands that plugins bring. None of them is imported."""
    off = _disabled()
    try:
        return [uri.removeprefix(f"{COMMAND}.") for uri in installed(COMMAND) if not name_in(off, uri)]
    except KernelError as exc:
        sys.stderr.write(f"ctr: commands of plugins are left out: {exc}\n")
        return []


def find(name: str) -> click.Command | None:
    """The command that a plugin brings under ``name``.

    :raises FailedPrecondition: its plugin is disabled, or cannot be used.
    """
    uri = f"{COMMAND}.{name}"
    try:
        if uri not in installed(COMMAND):
            return None
        off = _disabled()
        if mentioned := name_in(off, uri):
            raise FailedPrecondition(f"ctr {name} is the plugin {uri}, which is disabled at {off[mentioned]}")
        loaded, failures = modules([uri])
        if uri in failures:
            raise FailedPrecondition(f"plugin {uri}: it cannot be imported: {describe(failures[uri])}")
        found = Implementations(Hooks, MARK, lambda: loaded).of("ctr_command")
        if not found:
            raise FailedPrecondition(f"plugin {uri}: {loaded[uri]!r} has no hook ctr_command")
        command = found[0].call()
    except KernelError as exc:
        raise FailedPrecondition(str(exc)) from exc
    if not isinstance(command, click.Command):
        raise FailedPrecondition(f"plugin {uri}: its hook ctr_command returned {command!r:.100}, not a click.Command")
    return command


def _disabled() -> dict[str, str]:
    from pycontainerd.config import ConfigError, load

    try:
        return dict(load(os.environ.get(CONFIG, "")).disabled)
    except (ConfigError, OSError) as exc:
        sys.stderr.write(f"ctr: the configuration cannot be read, so no command counts as disabled: {exc}\n")
        return {}
