"""Brings a running kernel to another configuration: all of it is checked before any of it is applied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from pycontainerd.kernel import CycleError, Kernel, KernelError, Registration, Report, State
from pycontainerd.kernel.calls import call, describe
from pycontainerd.kernel.discovery import Found
from pycontainerd.kernel.graph import Graph, resolve
from pycontainerd.kernel.initializer import Initializer, Outcome
from pycontainerd.kernel.kernel import Settings
from pycontainerd.kernel.registration import name_in

from .changes import Change, Verdict, differing, key_of


class ReloadError(Exception):
    """A configuration that cannot replace the running one. ``problems`` are all reasons, a sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


async def reload(kernel: Kernel, settings: Settings, *, dry_run: bool = False) -> list[Change]:
    """Bring the running plugins to another configuration; what is not running is given another chance.

    Plugins that were installed or enabled since start, those that are disabled now stop with what cannot do
    without them, and those whose config changed take it if they can.

    :param dry_run: only say what would happen.
    :raises ReloadError: the configuration cannot be used as it is. Nothing has changed.
    """
    async with kernel.changing() as initializer:
        try:
            found = await asyncio.to_thread(kernel.look, settings)  # it may import what was installed since
        except KernelError as exc:
            raise ReloadError([str(exc)]) from exc
        disabled = {uri for uri, row in kernel.report.rows.items() if row.state is State.DISABLED}
        made = plan(settings, found, initializer, disabled)
        if dry_run:
            return preview(made, initializer)
        kernel.adopt(settings, found)
        return await apply(made, initializer, lambda: kernel.report)


@attrs.frozen(kw_only=True)
class Plan:
    """A configuration that was found to be good, and what it means for the plugins that are there."""

    settings: Settings
    found: Mapping[str, Found]
    registrations: Mapping[str, Registration]
    graph: Graph
    configs: Mapping[str, Any]
    removed: set[str]
    added: set[str]
    disabled: set[str]  # until now


def plan(settings: Settings, found: Mapping[str, Found], initializer: Initializer, disabled: set[str]) -> Plan:
    """Check a new configuration against the plugins ``found`` under it.

    :raises ReloadError: with everything that is wrong with it.
    """
    registrations = {uri: one.registration for uri, one in found.items() if one.registration is not None}
    problems, configs = _configs(settings, registrations)
    for uri, where in settings.required.items():
        if uri not in registrations:
            why = "it would be disabled" if name_in(settings.disabled, uri) else "it is not there"
            problems.append(f"{uri} is required at {where}, but {why}")
    graph = Graph((), {})
    try:
        graph = resolve(registrations.values())
    except CycleError as exc:
        problems.append(str(exc))
    if problems:
        raise ReloadError(problems)
    before = initializer.registrations
    changed = {uri for uri in registrations if uri in before and registrations[uri] is not before[uri]}
    return Plan(
        settings=settings,
        found=found,
        registrations=registrations,
        graph=graph,
        configs=configs,
        disabled=disabled,
        removed={uri for uri in before if uri not in registrations} | changed,
        added={uri for uri, one in found.items() if one.registration and uri not in before} | changed,
    )


def _configs(settings: Settings, registrations: Mapping[str, Registration]) -> tuple[list[str], dict[str, Any]]:
    problems, configs = [], {}
    for uri, registration in registrations.items():
        try:
            configs[uri] = settings.plugin(uri, registration.config)
        except (Exception, SystemExit) as exc:
            problems.append(describe(exc))
    return problems, configs


def preview(plan: Plan, initializer: Initializer) -> list[Change]:
    """What `apply` would do, as far as that can be known before."""
    changes = [
        Change(_switch(plan, uri), Verdict.APPLIED, uri, "it would stop") for uri in sorted(plan.removed - plan.added)
    ]
    changes += [Change(_switch(plan, uri), Verdict.APPLIED, uri, "it would start") for uri in sorted(plan.added)]
    for uri, outcome, names in _reconfigured(plan, initializer):
        can = plan.registrations[uri].reload is not None or outcome.state is not State.OK
        verdict = Verdict.APPLIED if can else Verdict.RESTART
        changes += [Change(key_of(uri, name), verdict, uri) for name in names]
    return changes


async def apply(plan: Plan, initializer: Initializer, report: Callable[[], Report]) -> list[Change]:
    """Stop, reconfigure and start what the plan says; returns what became of each key."""
    changes: list[Change] = []
    stopped = await initializer.stop(plan.removed) if plan.removed else []
    initializer.change(plan.registrations, plan.graph)
    again: list[tuple[str, list[str]]] = []
    for uri, outcome, names in _reconfigured(plan, initializer):
        if outcome.state is State.OK:
            changes += await _reconfigure(plan.registrations[uri], outcome, plan.configs[uri], names)
        else:
            again.append((uri, names))
    retried = [uri for uri, outcome in initializer.outcomes.items() if outcome.state in (State.FAILED, State.SKIPPED)]
    for uri in {*retried, *plan.added, *(uri for uri, _ in again)}:
        initializer.outcomes.pop(uri, None)
    await initializer.start()
    rows = report().rows
    for uri, names in again:
        changes += [Change(key_of(uri, name), Verdict.APPLIED, uri, rows[uri].sentence) for name in names]
    gone = plan.removed - plan.added
    for uri in sorted(gone):
        others = [other for other in stopped if other not in gone and rows[other].state is not State.OK]
        message = "it is stopped" + (f", and with it {', '.join(sorted(others))}" if others else "")
        changes.append(Change(_switch(plan, uri), Verdict.APPLIED, uri, message))
    changes += [Change(_switch(plan, uri), Verdict.APPLIED, uri, rows[uri].sentence) for uri in sorted(plan.added)]
    for uri in sorted(retried):
        if uri in rows and rows[uri].state is State.OK and uri not in dict(again):
            changes.append(Change(key_of(uri, ""), Verdict.APPLIED, uri, f"tried again: {rows[uri].sentence}"))
    return changes


def _switch(plan: Plan, uri: str) -> str:
    """The key that adds or takes away a plugin."""
    found = plan.found.get(uri)
    if found is None or found.made_of is not None:
        return "proxy_plugins"
    return "disabled_plugins" if uri in plan.disabled or uri in plan.removed else key_of(uri, "")


def _reconfigured(plan: Plan, initializer: Initializer) -> list[tuple[str, Outcome, list[str]]]:
    """Plugins that stay, whose configured values are others than those in force."""
    found = []
    for uri, config in plan.configs.items():
        outcome = initializer.outcomes.get(uri)
        if outcome is None or uri in plan.removed or uri in plan.added:
            continue
        if outcome.context is not None:
            names = list(differing(outcome.context.config, config))
        else:  # its config was so wrong that it never had one
            names = [""] if outcome.state is State.FAILED else []
        if names:
            found.append((uri, outcome, names))
    return found


async def _reconfigure(registration: Registration, outcome: Outcome, config: Any, names: list[str]) -> list[Change]:
    uri = registration.uri
    if registration.reload is None:
        return [Change(key_of(uri, name), Verdict.RESTART, uri) for name in names]
    try:
        left = await call(registration.reload, outcome.instance, config, deadline=registration.deadline, what="reload")
    except (Exception, SystemExit) as exc:
        return [Change(key_of(uri, name), Verdict.REJECTED, uri, describe(exc)) for name in names]
    left = set(left or ())
    assert outcome.context is not None
    old = outcome.context.config
    if left:  # what was not applied is still as it was, and the next reload says so again
        config = attrs.evolve(config, **{name: getattr(old, name) for name in {one.partition(".")[0] for one in left}})
    outcome.context.config = config
    return [Change(key_of(uri, name), Verdict.RESTART if name in left else Verdict.APPLIED, uri) for name in names]
