"""The effective configuration as text: all of it, the defaults alone, or one key with all that was said of it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from . import toml
from .document import Document, Path, dotted, leaves, lookup, plain
from .keys import NO_EFFECT, Main, defaults, doc, summary, wrapped
from .migrations import ALIASES, migrate
from .plugins import Plugins
from .records import ConfigError, Layer, Settings
from .typed import snake

_MARK = object()


def default_text(plugins: Plugins) -> str:
    """The defaults, each key with what it does."""
    comments: dict[Path, toml.Comment] = {}
    _describe((), Main, comments)
    for uri, config in plugins.tables.items():
        if attrs.fields(config):
            comments["plugins", uri] = toml.Comment(wrapped(summary(config)))
            _describe(("plugins", uri), config, comments)
    return toml.dumps(effective(Settings({}, {}), plugins), comments)


def dump_text(settings: Settings, plugins: Plugins, *, origins: bool = False) -> str:
    """The effective configuration; with ``origins``, each key that a file sets with that file and line."""
    values = effective(settings, plugins)
    comments = {}
    if origins:
        paths = [path for path, _ in leaves(values) if path in settings.origins]
        comments = {path: toml.Comment(after=settings.origins[path]) for path in paths}
    return toml.dumps(values, comments)


def effective(settings: Settings, plugins: Plugins) -> dict[str, Any]:
    """The defaults with what the files say laid over them; tables of plugins that are not installed are kept."""
    values = defaults(Main)
    given = plain(settings.values)
    tables = given.pop("plugins", {})
    if settings.files:
        values["imports"] = []
    _lay(values, given, Main)
    made = {uri: defaults(config) for uri, config in plugins.tables.items() if attrs.fields(config)}
    for uri, table in tables.items() if isinstance(tables, Mapping) else ():
        if isinstance(table, Mapping):
            _lay(made.setdefault(uri, {}), table, plugins.configs.get(uri))
    values["plugins"] = dict(sorted(made.items()))
    return values


def explain(settings: Settings, plugins: Plugins, key: str) -> str:
    """Value, default, and every line that set it, of a key under any name it ever had.

    :raises ConfigError: there is no such key.
    """
    values = effective(settings, plugins)
    path = find(key, values, plugins)
    value = lookup(values, path, _MARK)
    if value is _MARK:
        known = [dotted(one) for one, _ in leaves(values)]
        near = difflib.get_close_matches(dotted(path), known, n=1)
        raise ConfigError(f"there is no key {dotted(path)}" + (f"; did you mean {near[0]}?" if near else ""))
    default = lookup(effective(Settings({}, {}), plugins), path, _MARK)
    if isinstance(value, Mapping) and value:
        return "\n".join([_title(path, key), *_below(settings, path, value)]) + "\n"
    lines = [_title(path, key)]
    lines += [f"  {line}" for line in wrapped(_doc(path, plugins))]
    lines.append(f"  value    {toml.value(value)}")
    lines.append(f"  default  {'none' if default is _MARK else toml.value(default)}")
    said = [_said(layer, path) for layer in settings.layers if layer.document.has(path)]
    lines += [f"  {'set by ' if not place else '       '}  {line}" for place, line in enumerate(said)]
    if not said:
        lines.append("  set by   nothing: this is the default")
    elif len(said) > 1:
        lines.append(f"  used     {settings.where(path)}")
    lines += [f"  effect   none: {reason}" for reason in _no_effect(path, values, plugins)]
    return "\n".join(lines) + "\n"


def find(key: str, values: Mapping[str, Any], plugins: Plugins) -> Path:
    """The path that ``key`` means: dotted, with or without quotes, by its present or an older name, or a URI and a key."""
    bare = key.replace('"', "").replace("'", "").replace(" ", "").strip(".")
    uris = {*plugins.known, *values.get("plugins", {})}
    path = _path(bare, uris)
    if lookup(values, path, _MARK) is not _MARK:
        return path
    if bare in ALIASES:
        return ALIASES[bare]
    document = Document()
    document.put(path, _MARK, ())
    moved = [place for place, item in leaves(migrate(document, 1).values) if item is _MARK]
    return moved[0] if moved else path


def _path(bare: str, uris: Collection[str]) -> Path:
    text = bare.removeprefix("plugins.")
    # Ids have dots too, so the longest URI that fits is the plugin's.
    for uri in sorted(uris, key=len, reverse=True):
        if text == uri or text.startswith(f"{uri}."):
            rest = text[len(uri) + 1 :]
            return ("plugins", uri, *(rest.split(".") if rest else ()))
    return tuple(bare.split("."))


def _title(path: Path, key: str) -> str:
    name = dotted(path)
    same = name.replace('"', "") == key.replace('"', "").replace("'", "")
    return name if same else f"{name}, which {key} means"


def _below(settings: Settings, path: Path, value: Mapping[str, Any]) -> Iterator[str]:
    for one, item in leaves(value, path):
        where = settings.where(one) if one in settings.origins else "default"
        yield f"  {dotted(one[len(path) :])} = {toml.value(item)}  # {where}"


def _said(layer: Layer, path: Path) -> str:
    document = layer.document
    notes = [f"as {dotted(document.name(path))}"] if document.name(path) != path else []
    if path in document.derived:
        notes = [f"follows from {dotted(document.name(path))}"]
    item = document.get(path)
    text = f"{document.where(path) or layer.path}: {toml.value(item)}"
    return f"{text} ({', '.join(notes)})" if notes else text


def _no_effect(path: Path, values: Mapping[str, Any], plugins: Plugins) -> Iterator[str]:
    """Why what is said for the key at ``path`` changes nothing."""
    if path[0] in NO_EFFECT:
        yield "it is for the Go containerd"
    elif path[0] == "plugins" and len(path) > 1 and path[1] in plugins.disabled:
        yield f"{path[1]} is disabled"
    elif path[0] == "plugins" and len(path) > 1 and path[1] not in plugins.installed:
        _, message, hint = plugins.absent(path[1])
        yield plugins.unserved(path[1], lookup(values, path[:2])) or message + (f" ({hint})" if hint else "")


def _doc(path: Path, plugins: Plugins) -> str:
    config: Any = Main
    if path[0] == "plugins" and len(path) > 2:
        config, path = plugins.configs.get(path[1]), path[2:]
    for place, name in enumerate(path, 1):
        field = attrs.fields_dict(config).get(name) if attrs.has(config or object) else None
        if field is None:
            return ""
        attrs.resolve_types(config)
        if place == len(path):
            return doc(config, field)
        config = field.type
    return ""


def _lay(values: dict[str, Any], given: Mapping[str, Any], config: type[Any] | None) -> None:
    names = {field.name for field in attrs.fields(config)} if config is not None else set()
    for key, item in given.items():
        name = key if key in names or snake(key) not in names else snake(key)
        old = values.get(name)
        if isinstance(old, dict) and isinstance(item, Mapping):
            _lay(old, item, None)
        elif config is not Main or item or not old or not isinstance(item, (str, int)) or isinstance(old, bool):
            values[name] = plain(item)


def _describe(path: Path, config: type[Any], comments: dict[Path, toml.Comment]) -> None:
    attrs.resolve_types(config)
    for field in attrs.fields(config):
        here = (*path, field.name)
        if field.type is not None and attrs.has(field.type):
            comments[here] = toml.Comment(wrapped(doc(config, field) or summary(field.type)))
            _describe(here, field.type, comments)
        else:
            comments[here] = toml.Comment(wrapped(doc(config, field)))
