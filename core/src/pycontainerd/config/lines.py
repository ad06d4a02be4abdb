"""Which line of a TOML file sets which key. tomli gives values only, and a person wants the line."""

from __future__ import annotations

import re

import tomli

_KEY = re.compile(
    r"\s*(?P<key>(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*'))*)\s*="
)
# What nearly all lines look like. The rest is left to tomli, which takes far longer.
_SIMPLE_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')"""
_SIMPLE_HEADER = re.compile(rf"\s*\[({_SIMPLE_PART}(?:\.{_SIMPLE_PART})*)\]\s*(?:#.*)?\Z")
_SIMPLE_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+)\s*=\s*(?:"[^"\\]*"|'[^']*'|[A-Za-z0-9_.+-]+|\[\])\s*(?:#.*)?\Z""")
_PARTS = re.compile(_SIMPLE_PART)

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of each key and table header in ``text``, a document that tomli has accepted."""
    lines: dict[Path, int] = {}
    table: Path = ()
    statement = ""
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not statement:
            simple = _SIMPLE_KEY.match(line)
            if simple:
                lines[*table, simple[1]] = number
                continue
            header = _header(line)
            if header:
                table = header
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
    """The first line at or after ``start`` that has ``needle`` as a string of its own; ``start`` where none does."""
    quoted = (f'"{needle}"', f"'{needle}'")
    fallback = 0
    for number, line in enumerate(text.splitlines(), 1):
        if number < start or needle not in line or line.lstrip().startswith("#"):
            continue
        if any(one in line for one in quoted):
            return number
        fallback = fallback or number
    return fallback or start


def _header(line: str) -> Path:
    """The path of a ``[table]`` or ``[[array]]`` header; empty for any other line."""
    if not line.lstrip().startswith("["):
        return ()
    simple = _SIMPLE_HEADER.match(line)
    if simple:
        return tuple(part[1:-1] if part[0] in "\"'" else part for part in _PARTS.findall(simple[1]))
    try:
        return _only_path(tomli.loads(line))
    except tomli.TOMLDecodeError:
        return ()


def _only_path(value: object) -> Path:
    """The keys that lead into nested tables of one key each."""
    path: list[str] = []
    while value and isinstance(value, (dict, list)):
        if isinstance(value, list):
            value = value[0]
        else:
            key, value = next(iter(value.items()))
            path.append(key)
    return tuple(path)


def _split(dotted: str) -> Path | None:
    """The parts of a dotted key, with its quotes undone."""
    try:
        return _only_path(tomli.loads(f"{dotted} = 0"))
    except tomli.TOMLDecodeError:
        return None


def _complete(statement: str) -> bool:
    """Whether ``key = value`` is a whole statement, or goes on in the next line."""
    try:
        tomli.loads(statement)
    except tomli.TOMLDecodeError:
        return False
    return True
