"""Values from TOML against the types of a plugin's config class: every mistake, not the first."""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from .document import Path

Report = Callable[[Path, str], None]
_MISSING = object()


def build(config: type[Any], table: Mapping[str, Any], path: Path, report: Report) -> Any:
    """An instance of ``config`` with what ``table`` says; keys it does not have are left alone.

    Each mistake goes to ``report`` as the path of the key and a sentence; then None is returned.
    """
    attrs.resolve_types(config)  # in a module with postponed annotations they are strings
    names = {field.name: field for field in attrs.fields(config)}
    values: dict[str, Any] = {}
    count = 0

    def say(where: Path, message: str) -> None:
        nonlocal count
        count += 1
        report(where, message)

    for key, value in table.items():
        field = names.get(key) or names.get(snake(key))
        if field is not None and field.init:
            built = convert(value, field.type, (*path, key), say)
            if built is not _MISSING:
                values[field.alias] = built
    given = {snake(key) for key in table} | set(table)
    for field in names.values():
        if field.default is attrs.NOTHING and field.init and field.name not in given:
            say(path, f"must have the key {field.name}")
    if count:
        return None
    try:
        return config(**values)
    except Exception as exc:
        where = _culprit(config, values, path)
        say(where, str(exc).removeprefix(f"{where[-1]} "))
        return None


def convert(value: Any, wanted: Any, path: Path, report: Report) -> Any:
    """``value`` as a ``wanted``, or a report."""
    origin = typing.get_origin(wanted) or wanted
    if origin is Any or origin is object or origin is None:
        return value
    if origin is typing.Annotated:
        return convert(value, typing.get_args(wanted)[0], path, report)
    if origin in (typing.Union, types.UnionType):
        return _union(value, wanted, path, report)
    if origin is typing.Literal:
        choices = typing.get_args(wanted)
        return value if value in choices else _wrong(path, f"one of {', '.join(map(repr, choices))}", value, report)
    if isinstance(origin, type):
        return _of_class(value, wanted, origin, path, report)
    return value


def _of_class(value: Any, wanted: Any, origin: type[Any], path: Path, report: Report) -> Any:
    if attrs.has(origin):
        if isinstance(value, Mapping):
            return build(origin, value, path, report)
        return _wrong(path, "a table", value, report)
    if issubclass(origin, enum.Enum):
        try:
            return origin(value)
        except ValueError:
            return _wrong(path, f"one of {', '.join(repr(one.value) for one in origin)}", value, report)
    if origin in (str, int, bool, float):
        return _scalar(value, origin, path, report)
    if issubclass(origin, collections.abc.Mapping):
        return _table(value, wanted, path, report)
    if issubclass(origin, (collections.abc.Sequence, collections.abc.Set)):
        return _list(value, wanted, origin, path, report)
    import cattrs  # a type of the plugin's own

    try:
        return cattrs.structure(value, wanted)
    except Exception:
        return _wrong(path, a_name(wanted), value, report)


def _scalar(value: Any, origin: type[Any], path: Path, report: Report) -> Any:
    if type(value) is origin or (origin is str and isinstance(value, str)):
        return value
    if origin is float and type(value) is int:
        return float(value)
    return _wrong(path, a_name(origin), value, report)


def _table(value: Any, wanted: Any, path: Path, report: Report) -> Any:
    if not isinstance(value, Mapping):
        return _wrong(path, "a table", value, report)
    item = (typing.get_args(wanted) or (Any, Any))[1]
    return {key: convert(one, item, (*path, key), report) for key, one in value.items()}


def _list(value: Any, wanted: Any, origin: type[Any], path: Path, report: Report) -> Any:
    if not isinstance(value, list):
        return _wrong(path, "a list", value, report)
    arguments = typing.get_args(wanted)
    item = arguments[0] if arguments else Any
    made = [convert(one, item, path, lambda where, text: report(where, f"has an item that {text}")) for one in value]
    if issubclass(origin, collections.abc.Set):
        return frozenset(made) if all(isinstance(one, collections.abc.Hashable) for one in made) else made
    return tuple(made) if origin is tuple else made


def _union(value: Any, wanted: Any, path: Path, report: Report) -> Any:
    for choice in typing.get_args(wanted):
        if choice is type(None):
            continue
        mistakes: list[str] = []
        made = convert(value, choice, path, lambda _path, message, seen=mistakes: seen.append(message))  # type: ignore[misc]
        if not mistakes:
            return made
    names = [a_name(choice) for choice in typing.get_args(wanted) if choice is not type(None)]
    return _wrong(path, " or ".join(names), value, report)


def _wrong(path: Path, wanted: str, value: Any, report: Report) -> Any:
    report(path, f"must be {wanted}, not {value!r:.200}")
    return _MISSING


def _culprit(config: type[Any], values: Mapping[str, Any], path: Path) -> Path:
    """The key whose value the class refuses, where it is one alone."""
    for field in attrs.fields(config):
        if field.validator is not None and field.alias in values:
            try:
                field.validator(None, field, values[field.alias])
            except Exception:
                return (*path, field.name)
    for key, value in values.items():
        try:
            config(**{key: value})
        except Exception:
            return (*path, key)
    return path


def a_name(wanted: Any) -> str:
    """A type in words."""
    if isinstance(wanted, type) and issubclass(wanted, Mapping):
        return "a table"
    name = getattr(wanted, "__name__", str(wanted))
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def snake(name: str) -> str:
    """``RootPath`` as ``root_path``; other names as they are."""
    if not name[:1].isupper() or "_" in name:
        return name
    return "".join(
        f"_{char.lower()}" if char.isupper() and place and not name[place - 1].isupper() else char.lower()
        for place, char in enumerate(name)
    )
