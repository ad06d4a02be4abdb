"""Which line of a TOML file sets which key. tomli gives values only, and a person wants the line."""

from __future__ import annotations

import re

import tomli

_HEADER = re.compile(r"\s*\[\[?(?P<name>[^\[\]].*?)\]\]?\s*(?:#.*)?\Z")
_KEY = re.compile(
    r"\s*(?P<key>(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*'))*)\s*="
)

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of each key and table header in ``text``, a document that tomli has accepted."""
    lines: dict[Path, int] = {}
    table: Path = ()
    statement = ""
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not statement:
            header = _HEADER.match(line)
            if header and (path := _split(header["name"])) is not None:
                table = path
                lines.setdefault(table, number)
                continue
            found = _KEY.match(line)
            if not found:
                continue
            first = number
            lines[table + (_split(found["key"]) or ())] = number
        statement = f"{statement}\n{line}" if statement else line
        if _complete(statement) or number - first > 1000:
            statement = ""
    return lines


def line_of(text: str, start: int, needle: str) -> int:
    """The first line at or after ``start`` that holds ``needle``; ``start`` where none does."""
    for number, line in enumerate(text.splitlines(), 1):
        if number >= start and needle in line:
            return number
    return start


def _split(dotted: str) -> Path | None:
    """The parts of a dotted key, with its quotes undone."""
    try:
        value: object = tomli.loads(f"{dotted} = 0")
    except tomli.TOMLDecodeError:
        return None
    path: list[str] = []
    while isinstance(value, dict):
        key, value = next(iter(value.items()))
        path.append(key)
    return tuple(path)


def _complete(statement: str) -> bool:
    """Whether ``key = value`` is a whole statement, or goes on in the next line."""
    try:
        tomli.loads(statement)
    except tomli.TOMLDecodeError:
        return False
    return True
