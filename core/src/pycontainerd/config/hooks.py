"""Migrations that plugins bring: the hook ``migrate_config``. Without such a plugin nothing is imported for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pycontainerd.contracts.hooks import MARK, MIGRATION, Hooks
from pycontainerd.kernel.calls import describe
from pycontainerd.kernel.discovery import installed, modules
from pycontainerd.kernel.errors import KernelError
from pycontainerd.kernel.hooks import HookError, Implementations
from pycontainerd.kernel.registration import name_in

from .document import Finding
from .records import Layer

_LISTS = ("disabled_plugins",)


def migrated(layers: Sequence[Layer]) -> list[Layer]:
    """``layers`` as the installed migrations make them. One that fails changes nothing, and is reported."""
    try:
        wanted = [uri for uri in installed(MIGRATION) if not name_in(_disabled(layers), uri)]
        found, failures = modules(wanted) if wanted else ({}, {})
    except KernelError as exc:
        return _report(layers, [str(exc)])
    problems = [f"plugin {uri}: it cannot be imported: {describe(exc)}" for uri, exc in failures.items()]
    try:
        changed = [_changed(layer, found, problems) for layer in layers] if found else layers
    except HookError as exc:
        return _report(layers, [*problems, str(exc)])
    return _report(changed, problems)


def _disabled(layers: Sequence[Layer]) -> set[str]:
    """What all files disable: that a migration changes this list for itself is not to be."""
    listed = [layer.document.get((key,)) for layer in layers for key in _LISTS]
    return {item for one in listed if isinstance(one, list) for item in one if isinstance(item, str)}


def _changed(layer: Layer, found: Mapping[str, object], problems: list[str]) -> Layer:
    for migration in Implementations(Hooks, MARK, lambda: found).of("migrate_config"):
        document = layer.document.copy()
        try:
            migration.call(config=document, version=layer.version)
        except HookError as exc:
            problems.append(f"{exc}; {layer.path} is taken without it")
        else:
            layer = layer._replace(document=document)
    return layer


def _report(layers: Sequence[Layer], problems: Sequence[str]) -> list[Layer]:
    if not problems or not layers:
        return list(layers)
    first = layers[0].document.copy()
    first.findings += [Finding("warning", layers[0].path, problem) for problem in problems]
    return [layers[0]._replace(document=first), *layers[1:]]
