"""Reads config files: the main one, what it imports, each brought to the latest version, then merged as Go merges them."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import tomli

from .document import Document, Finding, Path, lookup, plain
from .hooks import migrated
from .lines import key_lines, line_of
from .migrations import LATEST, migrate, rename_aliases
from .records import CONF_D, DEFAULT_PATH, ConfigError, Layer, Settings

MAX_FILE = 4 << 20  # bytes
MAX_FILES = 1000
MAX_DEPTH = 100
VERSIONS = (1, 2, 3, 4)
_ADD_UP = ("disabled_plugins", "required_plugins", "imports")
_WHOLE = ("proxy_plugins", "timeouts", "stream_processors")  # their entries are replaced, not merged

OnError = Callable[[Finding], None]


def load(path: str = "") -> Settings:
    """The configuration at ``path`` with its imports; without ``path``, the default file where there is one.

    Later files win over earlier ones; tables merge deep; ``disabled_plugins``, ``required_plugins`` and ``imports`` add
    up. Files are imported once, cycles included. Each may be of another version.

    :raises ConfigError: a file is missing, too large, not TOML, or of an unknown version.
    """
    return merge(read_layers(path))


def read_layers(path: str = "", on_error: OnError | None = None) -> list[Layer]:
    """Every file in the order in which they apply: imports after their file, breadth first.

    :param on_error: gets what is wrong and reading goes on; without it the first error is raised.
    """
    raising = on_error or _raise
    layers: list[Layer] = []
    seen: set[str] = set()
    pending = deque((file, "") for file in ([os.path.abspath(path)] if path else _default_files()))
    while pending:
        file, importer = pending.popleft()
        if file in seen:
            continue
        if len(seen) >= MAX_FILES:
            raising(Finding("error", importer, f"more than {MAX_FILES} files are imported"))
            break
        seen.add(file)
        layer = _layer(file, importer, raising)
        if layer is not None:
            layers.append(layer)
            pending.extend(_imports(layer, raising))
    return migrated(layers)


def merge(layers: Iterable[Layer]) -> Settings:
    """What all layers say together; a later one wins."""
    merged = Document()
    kept = list(layers)
    for layer in kept:
        _merge((), layer.document.values, layer.document, merged)
        merged.findings.extend(layer.document.findings)
    return Settings(merged.values, merged.origins, [layer.path for layer in kept], merged.names, kept, merged.findings)


def _default_files() -> list[str]:
    """The default file, or, as the built-in default configuration imports them, the drop-ins alone."""
    return [DEFAULT_PATH] if os.path.exists(DEFAULT_PATH) else sorted(glob.glob(CONF_D, include_hidden=True))


def _raise(finding: Finding) -> None:
    raise ConfigError(f"{finding.where}: {finding.message}" if finding.where else finding.message)


def _layer(path: str, importer: str, on_error: OnError) -> Layer | None:
    """The file as a document of the latest version; None where it cannot be used."""
    text = _read(path, importer, on_error)
    values = None if text is None else _parse(path, text, on_error)
    if text is None or values is None:
        return None
    if _deep(values):
        on_error(Finding("error", path, f"tables or lists are nested more than {MAX_DEPTH} deep"))
        return None
    raw = Document(values, _origins(path, text, values))
    document = rename_aliases(raw)
    version = document.values.get("version", 1 if document.values else LATEST)
    if isinstance(version, bool) or version not in VERSIONS:
        listed = ", ".join(map(str, VERSIONS))
        on_error(
            Finding(
                "error",
                raw.where(("version",)) or path,
                f"version = {version!r} is not one this daemon reads ({listed})",
            )
        )
        return None
    return Layer(path, version, text, raw, migrate(document, version))


def _deep(values: dict[str, Any]) -> bool:
    """Whether there are more levels than functions that call themselves may safely walk."""
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for one in level
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, (dict, list)) and item
        ]
        if not level:
            return False
    return True


def _origins(path: str, text: str, values: dict[str, Any]) -> dict[Path, str]:
    lines = key_lines(text)
    origins = {key_path: f"{path}:{line}" for key_path, line in lines.items()}
    for key in ("disabled_plugins", "required_plugins", "DisabledPlugins", "RequiredPlugins"):
        listed = values.get(key)
        for item in listed if isinstance(listed, list) else ():
            origins[(key, str(item))] = f"{path}:{line_of(text, lines.get((key,), 1), str(item))}"
    return origins


def _imports(layer: Layer, on_error: OnError) -> list[tuple[str, str]]:
    """The files that the layer imports, each with the line that says so."""
    imports = layer.document.values.get("imports", [])
    where = layer.document.where(("imports",)) or layer.path
    if not isinstance(imports, list) or not all(isinstance(item, str) for item in imports):
        on_error(Finding("error", where, "imports must be a list of paths"))
        return []
    found: list[tuple[str, str]] = []
    directory = os.path.dirname(layer.path)
    for pattern in imports:
        # A pattern may match nothing; a file that is named must be there.
        matches = (
            sorted(glob.glob(pattern, root_dir=directory, include_hidden=True))
            if glob.has_magic(pattern)
            else [pattern]
        )
        first = where.rpartition(":")[2]
        line = line_of(layer.text, int(first) if first.isdigit() else 1, pattern)
        found.extend((os.path.abspath(os.path.join(directory, match)), f"{layer.path}:{line}") for match in matches)
    return found


def _read(path: str, importer: str, on_error: OnError) -> str | None:
    try:
        with open(path, "rb") as handle:
            data = handle.read(MAX_FILE + 1)
    except OSError as exc:
        on_error(Finding("error", importer, f"cannot read config file {path}: {exc.strerror}"))
        return None
    if len(data) > MAX_FILE:
        on_error(Finding("error", importer, f"config file {path} is larger than {MAX_FILE} bytes"))
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        on_error(Finding("error", importer, f"config file {path} is not UTF-8: byte {exc.start}"))
        return None


def _parse(path: str, text: str, on_error: OnError) -> dict[str, Any] | None:
    """The values; where errors are collected, those of the document without the lines that are no TOML."""
    lines = text.splitlines()
    for _ in range(20):
        try:
            return tomli.loads(text)
        except tomli.TOMLDecodeError as exc:
            number = min(exc.lineno, len(lines))
            on_error(Finding("error", f"{path}:{exc.lineno}", str(exc)))
            if not number or not lines[number - 1]:
                return None
            lines[number - 1] = ""  # and look for more
            text = "\n".join(lines)
        except RecursionError:
            on_error(Finding("error", path, "tables or lists are nested too deep"))
            return None
    return None


def _merge(path: Path, values: dict[str, Any], layer: Document, into: Document) -> None:
    for key, value in values.items():
        here = (*path, key)
        old = into.get(here)
        if isinstance(value, dict) and isinstance(old, dict) and not (len(here) == 2 and path[0] in _WHOLE):
            _claim(here, layer, into, deep=False)
            _merge(here, value, layer, into)
        elif here[0] in _ADD_UP and len(here) == 1 and isinstance(value, list) and isinstance(old, list):
            into.values[key] = [*old, *(item for item in value if item not in old)]
            _claim(here, layer, into, deep=True)
        elif old is None or _wins(here, value, layer, into):
            parent = lookup(into.values, path)
            parent[key] = plain(value)
            _claim(here, layer, into, deep=True)


def _wins(here: Path, value: Any, layer: Document, into: Document) -> bool:
    """Whether a value replaces another that is there."""
    if here in layer.derived and here not in into.derived:
        return False
    # Outside of plugins the Go containerd cannot tell "" or 0 from a key that is not written.
    return here[0] == "plugins" or here[0] in _WHOLE or bool(value) or not isinstance(value, (str, int, list))


def _claim(here: Path, layer: Document, into: Document, *, deep: bool) -> None:
    """The key (with ``deep``, all below it) now has the layer's origin and name."""
    paths = [one for one in layer.origins if one[: len(here)] == here] if deep else [here]
    for one in paths:
        if one in layer.origins:
            into.origins[one] = layer.origins[one]
            into.names[one] = layer.name(one)
            (into.derived.add if one in layer.derived else into.derived.discard)(one)


def file_version(layer: Layer) -> str:
    """``version 2``, or what that is where the file says nothing."""
    return f"version {layer.version}" + ("" if layer.raw.values.get("version") else " (it names none)")
