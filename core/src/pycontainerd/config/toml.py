"""Writes TOML: tables in the order they have, a comment where there is one. tomli only reads."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from .document import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


@attrs.frozen
class Comment:
    """Lines before a key or header (without ``#``: a comment as such; empty: an empty line), and what follows on its line."""

    before: Sequence[str] = ()
    after: str = ""


EMPTY: Mapping[Path, Comment] = {}


def dumps(values: Mapping[str, Any], comments: Mapping[Path, Comment] = EMPTY) -> str:
    """``values`` as TOML text."""
    return "\n".join(_table((), values, comments)).strip("\n") + "\n"


def value(item: Any) -> str:
    """One value as TOML."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return quote(item)
    if isinstance(item, float) and not math.isfinite(item):
        return "nan" if math.isnan(item) else "inf" if item > 0 else "-inf"
    if isinstance(item, (int, float)):
        return repr(item)
    if isinstance(item, (dt.datetime, dt.date, dt.time)):
        return item.isoformat()
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{key(name)} = {value(one)}" for name, one in item.items()) + "}"
    if isinstance(item, (list, tuple, set, frozenset)):
        return "[" + ", ".join(map(value, item)) + "]"
    raise TypeError(f"{item!r} has no form in TOML")


def key(name: str) -> str:
    """A key, with quotes where it needs them."""
    return name if _BARE.match(name) else quote(name)


def quote(text: str) -> str:
    return (
        '"' + "".join(_ESCAPES.get(char) or (f"\\u{ord(char):04x}" if _control(char) else char) for char in text) + '"'
    )


def _control(char: str) -> bool:
    return ord(char) < 0x20 or ord(char) == 0x7F


def _table(path: Path, values: Mapping[str, Any], comments: Mapping[Path, Comment]) -> Iterator[str]:
    tables = {name: item for name, item in values.items() if isinstance(item, Mapping)}
    comment = comments.get(path, Comment())
    if path and (len(tables) < len(values) or not values or comment.before or comment.after):
        yield ""
        yield from _lines(comment.before)
        yield _end(f"[{'.'.join(map(key, path))}]", comment)
    for name, item in values.items():
        if name not in tables:
            one = comments.get((*path, name), Comment())
            yield from _lines(one.before)
            yield _end(f"{key(name)} = {value(item)}", one)
    for name, item in tables.items():
        yield from _table((*path, name), item, comments)


def _lines(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"# {line}" if line else ""


def _end(line: str, comment: Comment) -> str:
    return f"{line}  # {comment.after}" if comment.after else line
