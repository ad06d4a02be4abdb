"""The six-state report: where every plugin known to the system stands, and why."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from .firstparty import PACKAGES

_ENOUGH = 16  # sentences of the log with one root cause
_LONG = 40  # steps of a chain that a sentence prints; the row has them all


class State(enum.StrEnum):
    """Every known plugin ends in exactly one of these."""

    OK = "ok"
    DISABLED = "disabled"
    NOT_INSTALLED = "not-installed"
    SKIPPED = "skipped"
    FAILED = "failed"
    BLOCKED = "blocked"


@attrs.define(kw_only=True)
class Row:
    """One plugin. Times are seconds; ``blocked_by`` is the requirement that is not there."""

    uri: str
    type: str
    id: str
    state: State
    cause: str = ""
    hint: str = ""
    blocked_by: str = ""
    distribution: str = ""
    version: str = ""
    platforms: Sequence[str] = ()
    requires: Sequence[str] = ()
    wants: Sequence[str] = ()
    exports: Mapping[str, str] = attrs.field(factory=dict)
    capabilities: Sequence[str] = ()
    import_seconds: float = 0.0
    init_seconds: float = 0.0
    # From each blocked plugin to the next on the way to the root cause. All rows share it: chains may be long.
    links: Mapping[str, str] = attrs.field(factory=dict, repr=False, eq=False)

    @property
    def chain(self) -> Sequence[str]:
        """The way from this plugin, which is not in it, to the root cause."""
        found: dict[str, None] = {}
        name = self.uri
        while name in self.links and self.links[name] not in found:
            name = self.links[name]
            found[name] = None
        return tuple(found)

    @property
    def package(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def reason(self) -> str:
        """State and cause, without the plugin's name."""
        if self.state in (State.BLOCKED, State.DISABLED):  # these causes say it themselves
            return self.cause
        return f"{self.state}: {self.cause}" if self.cause else str(self.state)

    @property
    def sentence(self) -> str:
        """The one sentence that says where the plugin stands, the same wherever it is shown."""
        if self.state is State.BLOCKED:
            text = f"{_way(self.uri, self.chain)}: {self.cause}"
        else:
            text = f"{self.uri} is {self.reason}"
        return f"{text} ({self.hint})" if self.hint else text


@attrs.frozen
class Report:
    """All rows, sorted by URI."""

    rows: Mapping[str, Row]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def why(self, uri: str) -> str:
        """The sentence for ``uri``; for an unknown one, the nearest names that exist."""
        row = self.rows.get(uri)
        if row is not None:
            return row.sentence
        near = nearest(uri, {*self.rows, *PACKAGES})
        return f"{uri} is not a plugin known here" + (f"; did you mean {near}?" if near else "")

    def problems(self) -> list[str]:
        """What a log should say: a sentence for each plugin that failed or is blocked, a few for each root cause."""
        said = [row.sentence for row in self if row.state is State.FAILED]
        waiting: dict[tuple[str, str], list[Row]] = {}
        for row in self:
            if row.state is State.BLOCKED:
                waiting.setdefault((row.cause, row.hint), []).append(row)
        for rows in waiting.values():
            said += [row.sentence for row in rows[:_ENOUGH]]
            if len(rows) > _ENOUGH:
                said.append(f"and {len(rows) - _ENOUGH} more plugins are blocked for the same reason: {rows[0].cause}")
        return said

    def absent(self) -> list[str]:
        """The plugins that are not there by intention, each with its state: for one line of a log."""
        return [f"{row.uri} ({row.state})" for row in self if row.state in (State.SKIPPED, State.DISABLED)]


def nearest(uri: str, known: Iterable[str]) -> str:
    """The known name that ``uri`` was most likely meant to be, or nothing."""
    names = sorted(known)
    near = difflib.get_close_matches(uri, names, n=1, cutoff=0.7)
    if near:
        return near[0]
    # Who writes an id where a URI is wanted has often the id right.
    return next((name for name in names if name.rpartition(".")[2] == uri.rpartition(".")[2]), "")


def _way(uri: str, chain: Sequence[str]) -> str:
    steps = [uri, *chain]
    if len(steps) > _LONG:
        steps[_LONG // 2 : -_LONG // 2] = [f"({len(steps) - _LONG} more)"]
    return " <- ".join(steps)
