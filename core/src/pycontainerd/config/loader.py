"""Reads config files: the main one, what it imports, merged as the Go containerd merges them."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import Any

import attrs
import tomli

from .lines import Path, key_lines, line_of
from .records import DEFAULT_PATH, ConfigError, Settings

MAX_FILE = 4 << 20  # bytes
MAX_FILES = 1000
VERSIONS = (1, 2, 3, 4)


@attrs.define
class _Merge:
    values: dict[str, Any] = attrs.field(factory=dict)
    origins: dict[Path, str] = attrs.field(factory=dict)
    files: list[str] = attrs.field(factory=list)


def load(path: str = "") -> Settings:
    """The configuration at ``path`` with its imports; without ``path``, the default file where there is one.

    Later files win over earlier ones; tables merge deep; ``disabled_plugins``, ``required_plugins`` and ``imports`` add
    up. Files are imported once, cycles included.

    :raises ConfigError: a file is missing, too large, not TOML, or of an unknown version.
    """
    merged = _Merge()
    if path or os.path.exists(DEFAULT_PATH):
        _add(os.path.abspath(path or DEFAULT_PATH), merged)
    return Settings(merged.values, merged.origins, merged.files)


def _add(path: str, merged: _Merge) -> None:
    if path in merged.files:
        return
    if len(merged.files) >= MAX_FILES:
        raise ConfigError(f"{path}: more than {MAX_FILES} files are imported")
    merged.files.append(path)
    text = _read(path)
    values = _parse(path, text)
    version = values.get("version", 1 if values else 4)
    if isinstance(version, bool) or version not in VERSIONS:
        raise ConfigError(
            f"{path}: version = {version!r} is not one this daemon reads ({', '.join(map(str, VERSIONS))})"
        )
    lines = key_lines(text)
    for key_path, line in lines.items():
        merged.origins[key_path] = f"{path}:{line}"
    for key in ("disabled_plugins", "required_plugins"):
        listed = values.get(key)
        for item in listed if isinstance(listed, list) else ():
            merged.origins[(key, str(item))] = f"{path}:{line_of(text, lines.get((key,), 1), str(item))}"
    imports = values.get("imports", [])
    if not isinstance(imports, list) or not all(isinstance(item, str) for item in imports):
        raise ConfigError(f"{path}:{lines.get(('imports',), 1)}: imports must be a list of paths")
    _merge(merged.values, values)
    for pattern in imports:
        wanted = os.path.join(os.path.dirname(path), pattern)
        # A pattern may match nothing; a file that is named must be there.
        for found in sorted(glob.glob(wanted)) if glob.has_magic(pattern) else [wanted]:
            _add(os.path.abspath(found), merged)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as handle:
            data = handle.read(MAX_FILE + 1)
    except OSError as exc:
        raise ConfigError(f"cannot read config file {path}: {exc.strerror}") from exc
    if len(data) > MAX_FILE:
        raise ConfigError(f"config file {path} is larger than {MAX_FILE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"config file {path} is not UTF-8: byte {exc.start}") from exc


def _parse(path: str, text: str) -> dict[str, Any]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        old = into.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif (
            isinstance(old, list)
            and isinstance(value, list)
            and key in ("disabled_plugins", "required_plugins", "imports")
        ):
            into[key] = [*old, *(item for item in value if item not in old)]
        else:
            into[key] = value
