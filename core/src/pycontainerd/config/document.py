"""One config file as data: values, and for each key the line that set it and the name it was set by.

Migrations and aliases move keys. What they move keeps its line and its old name, so that an error about a key can be
put in the words of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Path = tuple[str, ...]
_GONE = object()


# Plain classes: each attrs class would cost every start of the daemon more than half a millisecond.
class Finding(NamedTuple):
    """Something that a person should know about the configuration: what, where (``file:line``), and the way out."""

    severity: str  # error, warning or note
    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.severity}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class Document:
    """A table of tables, each key with its origin.

    ``names`` has the name in the file of each key that was moved; ``derived`` the keys that no one wrote: they follow
    from others, and give way to what is written anywhere.
    """

    def __init__(
        self,
        values: dict[str, Any] | None = None,
        origins: dict[Path, str] | None = None,
        names: dict[Path, Path] | None = None,
        derived: set[Path] | None = None,
        findings: list[Finding] | None = None,
    ) -> None:
        self.values = {} if values is None else values
        self.origins = {} if origins is None else origins
        self.names = {} if names is None else names
        self.derived = set() if derived is None else derived
        self.findings = [] if findings is None else findings

    def copy(self) -> Document:
        """An independent copy: a change of it does not show here."""
        return Document(
            plain(self.values), dict(self.origins), dict(self.names), set(self.derived), list(self.findings)
        )

    def get(self, path: Path, default: Any = None) -> Any:
        return lookup(self.values, path, default)

    def has(self, path: Path) -> bool:
        return lookup(self.values, path, _GONE) is not _GONE

    def where(self, path: Path) -> str:
        """The origin of the key, or of the nearest table around it, or of the first key in it."""
        wanted = path
        while path and path not in self.origins:
            path = path[:-1]
        if path:
            return self.origins[path]
        return (
            next((origin for one, origin in self.origins.items() if one[: len(wanted)] == wanted), "") if wanted else ""
        )

    def name(self, path: Path) -> Path:
        """How the file calls the key at ``path``."""
        return self.names.get(path, path)

    def put(self, path: Path, value: Any, like: Path, *, derived: bool = False) -> None:
        """Set ``path``, with the origin of ``like``; tables on the way are made. Does nothing below a value."""
        table = self.values
        for depth, key in enumerate(path[:-1], 1):
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                return
            if path[:depth] not in self.origins:
                self.origins[path[:depth]] = self.where(like)
                if depth == len(path) - 1 and len(like) > 1 and not derived:
                    self.names[path[:depth]] = self.name(like)[:-1]
        table[path[-1]] = value
        self.origins[path] = self.where(like)
        self.names[path] = self.name(like)
        if derived:
            self.derived.add(path)

    def move(self, old: Path, new: Path, *, old_wins: bool = False) -> None:
        """Rename ``old`` to ``new``. Tables merge; where both set a value, one wins and the other is reported."""
        value = self.get(old, _GONE)
        if value is _GONE or old == new:
            return
        there = self.get(new, _GONE)
        if isinstance(value, dict) and isinstance(there, dict):
            for key in list(value):
                self.move((*old, key), (*new, key), old_wins=old_wins)
            self.drop(old)
            return
        if there is not _GONE:
            if there != value:
                kept, lost = (old, new) if old_wins else (new, old)
                self.conflict(kept, lost)
            if not old_wins:
                self.drop(old)
                return
            self.drop(new)
        moved = [path for path in self.origins if path[: len(old)] == old]
        origins = {path: self.origins[path] for path in moved}
        names = {path: self.name(path) for path in moved}
        self.put(new, value, old)
        self.drop(old)
        for path in moved:
            target = new + path[len(old) :]
            self.origins[target] = origins[path]
            self.names[target] = names[path]

    def drop(self, path: Path) -> None:
        """Take the key away, and all below it; of a table around it what is left stays."""
        around = self.get(path[:-1])
        if isinstance(around, dict):
            around.pop(path[-1], None)
        for known in [one for one in self.origins if one[: len(path)] == path]:
            del self.origins[known]
            self.names.pop(known, None)
            self.derived.discard(known)

    def conflict(self, kept: Path, lost: Path) -> None:
        """Report that two names of one key are set, to different values."""
        self.findings.append(
            Finding(
                "warning",
                self.where(lost),
                f"{dotted(self.name(lost))} and {dotted(self.name(kept))} (at {self.where(kept)}) set the same key;"
                f" the latter is used",
                f"remove {dotted(self.name(lost))}",
            )
        )


def lookup(values: Mapping[str, Any], path: Path, default: Any = None) -> Any:
    """The value at ``path`` in nested tables."""
    value: Any = values
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


def plain(value: Any) -> Any:
    """A deep copy of tables and lists; everything else in TOML is immutable."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def leaves(values: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every key that is not a table, and every empty table, with its path."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def dotted(path: Path) -> str:
    """``path`` as one would write it in TOML."""
    return ".".join(part if part and part.replace("-", "").replace("_", "").isalnum() else f'"{part}"' for part in path)
