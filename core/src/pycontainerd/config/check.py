"""Everything that can be said against a configuration, each with its line: what `containerd config check` prints."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import attrs

from pycontainerd.kernel.discovery import discover
from pycontainerd.kernel.registration import name_in

from .document import Finding, Path, dotted
from .keys import NO_EFFECT, REMOVED, Main, defaults
from .loader import file_version, merge, read_layers
from .migrations import LISTENERS as MOVED
from .plugins import GO_KEYS, NOT_OURS, Find, Plugins, installed
from .proxies import read
from .records import ConfigError, Layer, Settings
from .typed import build, snake

LISTENERS = tuple(dict.fromkeys(path[0] for path in MOVED if path[0] != "debug"))
_ORDER = {"error": 0, "warning": 1, "note": 2}


def check(path: str = "", find: Find = discover) -> tuple[list[Finding], Settings]:
    """All findings for the configuration at ``path``, by file and line, and the configuration as far as it can be read.

    :param find: finds the plugins that it may speak of.
    """
    findings: list[Finding] = []
    layers = read_layers(path, findings.append)
    settings = merge(layers)
    try:
        disabled = settings.disabled
    except ConfigError:
        disabled = {}  # reported below as a wrong type
    plugins = installed(disabled, find)
    proxies = read(settings.values.get("proxy_plugins"), settings.where, plugins.installed)
    everything = attrs.evolve(plugins, configs={**plugins.configs, **{proxy.uri: None for proxy in proxies}})
    for layer in layers:
        findings.extend(layer.document.findings)
        findings.extend(_file(layer, layers[0]))
        findings.extend(_main(layer))
        findings.extend(_plugins(layer, plugins))
        findings.extend(_proxies(layer, plugins.installed))
    findings.extend(_listed(settings, everything))
    findings.extend(_addresses(settings))
    return _sorted(findings, [layer.path for layer in layers]), settings


def _file(layer: Layer, first: Layer) -> Iterator[Finding]:
    where = layer.raw.where(("version",)) or f"{layer.path}:1"
    if "version" not in layer.raw.values and "Version" not in layer.raw.values and layer.raw.values:
        yield Finding(
            "note", where, "the file names no version, so it is taken as version 1", "add version = 2 or later"
        )
    if layer.version > first.version:
        yield Finding(
            "note",
            where,
            f"{file_version(layer)} is later than {first.path}'s {first.version}, which the Go containerd refuses",
            "containerd config migrate",
        )


def _main(layer: Layer) -> Iterator[Finding]:
    """The keys outside of ``[plugins]``."""
    document = layer.document
    table = {key: value for key, value in document.values.items() if key != "plugins"}
    found: list[Finding] = []

    def report(path: Path, message: str) -> None:
        found.append(Finding("error", document.where(path) or layer.path, f"{dotted(document.name(path))} {message}"))

    known = {name: value for name, value in table.items() if name not in LISTENERS}
    if isinstance(known.get("proxy_plugins"), Mapping):
        del known["proxy_plugins"]  # looked at by `_proxies`
    build(Main, known, (), report)
    yield from found
    yield from _unknown((), known, Main, layer)
    for name in LISTENERS:
        if name in table:  # all that is known of it has moved to the listeners' plugins
            yield from _left_over(name, table[name], layer)
    for name in REMOVED:
        if table.get(name):
            yield Finding("warning", document.where((name,)), f"{name} has no effect", REMOVED[name])
    ours = defaults(Main)
    for name in NO_EFFECT:
        if name in table and table[name] and table[name] != ours[name]:
            yield Finding("note", document.where((name,)), f"{name} has no effect on this daemon")


def _proxies(layer: Layer, taken: Collection[str]) -> Iterator[Finding]:
    document = layer.document
    for proxy in read(document.values.get("proxy_plugins"), lambda path: document.where(path) or layer.path, taken):
        yield from proxy.errors
        yield from proxy.warnings


def _left_over(name: str, value: Any, layer: Layer) -> Iterator[Finding]:
    where = layer.document.where((name,)) or layer.path
    if not isinstance(value, Mapping):
        yield Finding("error", where, f"{name} must be a table, not {value!r:.200}")
        return
    for key in value:
        near = difflib.get_close_matches(key.lower(), [path[1] for path in MOVED if path[0] == name], n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        yield Finding("warning", layer.document.where((name, key)), f"unknown key {dotted((name, key))}", hint)


def _plugins(layer: Layer, plugins: Plugins) -> Iterator[Finding]:
    tables = layer.document.get(("plugins",), {})
    if not isinstance(tables, Mapping):
        yield Finding("error", layer.document.where(("plugins",)), f"plugins must be a table, not {tables!r:.200}")
        return
    alone = merge([layer])
    for uri, table in tables.items():
        where = layer.document.where(("plugins", uri)) or layer.path
        config = plugins.configs.get(uri)
        if uri in plugins.broken:
            yield Finding(
                "warning", where, f"{uri} cannot be imported, so its keys are not checked: {plugins.broken[uri]}"
            )
        elif uri not in plugins.installed:
            yield _absent(uri, table, layer, plugins)
        elif not isinstance(table, Mapping):
            yield Finding("error", where, f"plugins.{dotted((uri,))} must be a table, not {table!r:.200}")
        elif uri in plugins.configs:
            if config is not None:
                yield from alone.wrong_values(uri, config)
            yield from _unknown(("plugins", uri), table, config, layer)


def _absent(uri: str, table: Any, layer: Layer, plugins: Plugins) -> Finding:
    """A table of a plugin that is not installed."""
    path = ("plugins", uri)
    unserved = plugins.unserved(uri, table)
    if unserved:
        address = (*path, "address")
        where = layer.document.where(address) or layer.path
        return Finding("warning", where, f"{dotted(layer.document.name(address))}: {unserved}", plugins.absent(uri)[2])
    severity, message, hint = plugins.absent(uri)
    where = layer.document.where(path) or layer.path
    return Finding(severity, where, f"{message}; its table is kept, and has no effect", hint)


def _unknown(path: Path, table: Mapping[str, Any], config: type[Any] | None, layer: Layer) -> Iterator[Finding]:
    """Keys that the class does not have, tables in tables included."""
    fields = attrs.fields_dict(config) if config is not None else {}
    if config is not None:
        attrs.resolve_types(config)
    document = layer.document
    for key, value in table.items():
        here = (*path, key)
        where = document.where(here) or layer.path
        if key in fields:
            wanted = fields[key].type
            if isinstance(value, Mapping) and wanted is not None and attrs.has(wanted):
                yield from _unknown(here, value, wanted, layer)
        elif snake(key) in fields:
            yield Finding("note", where, f"{dotted(here)} is taken as {snake(key)}", f"write {snake(key)}")
        elif path or key not in REMOVED:
            near = difflib.get_close_matches(snake(key), [*fields, *(() if path else LISTENERS)], n=1)
            hint = f"did you mean {near[0]}?" if near else "" if fields else f"{dotted(path)} takes no keys"
            if len(path) == 2 and key in GO_KEYS.get(path[1], ()):
                yield Finding("note", where, f"{dotted(document.name(here))} {NOT_OURS}")
            else:
                yield Finding("warning", where, f"unknown key {dotted(document.name(here))}", hint)


def _listed(settings: Settings, plugins: Plugins) -> Iterator[Finding]:
    """The URIs in ``disabled_plugins`` and ``required_plugins``."""
    lists = {}
    for name in ("disabled", "required"):
        try:
            lists[name] = getattr(settings, name)
        except ConfigError:
            lists[name] = {}
    for name, listed in lists.items():
        for uri, where in listed.items():
            short = "." not in uri
            if short and any(name_in((uri,), known) for known in plugins.known):
                yield Finding("warning", where, f"{name}_plugins: the Go containerd takes URIs here, not {uri!r}")
            elif uri not in plugins.installed:
                severity, message, hint = plugins.absent(uri)
                worse = severity == "warning" or name == "required"
                yield Finding("error" if worse else severity, where, f"{name}_plugins: {message}", hint)
    for uri, where in lists["required"].items():
        if uri in lists["disabled"]:
            yield Finding("error", where, f"{uri} is required, and disabled at {lists['disabled'][uri]}")


def _addresses(settings: Settings) -> Iterator[Finding]:
    try:
        address, ttrpc = settings.address, settings.ttrpc_address
    except ConfigError:
        return
    if address == ttrpc:
        where = settings.where(("plugins", "io.containerd.server.v1.ttrpc", "address"))
        yield Finding("error", where, f"gRPC and ttrpc cannot both listen on {address}")


def _sorted(findings: Iterable[Finding], files: list[str]) -> list[Finding]:
    """Without repetitions, in the order of the files and their lines."""

    def place(finding: Finding) -> tuple[int, int, int]:
        file, _, line = finding.where.rpartition(":")
        known = file in files
        return (
            files.index(file) if known else -1,
            int(line) if known and line.isdigit() else 0,
            _ORDER[finding.severity],
        )

    return sorted(dict.fromkeys(findings), key=place)
