"""The six-state report: where every plugin known to the system stands, and why."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping, Sequence

import attrs

from .firstparty import PACKAGES


class State(enum.StrEnum):
    """Every known plugin ends in exactly one of these."""

    OK = "ok"
    DISABLED = "disabled"
    NOT_INSTALLED = "not-installed"
    SKIPPED = "skipped"
    FAILED = "failed"
    BLOCKED = "blocked"


@attrs.frozen(kw_only=True)
class Row:
    """One plugin. ``chain`` leads from it to the root cause; times are seconds."""

    uri: str
    type: str
    id: str
    state: State
    cause: str = ""
    hint: str = ""
    chain: Sequence[str] = ()
    distribution: str = ""
    version: str = ""
    platforms: Sequence[str] = ()
    requires: Sequence[str] = ()
    exports: Mapping[str, str] = attrs.field(factory=dict)
    capabilities: Sequence[str] = ()
    import_seconds: float = 0.0
    init_seconds: float = 0.0

    @property
    def sentence(self) -> str:
        """The one sentence that says where the plugin stands, the same wherever it is shown."""
        if self.state is State.OK:
            return f"{self.uri} is ok"
        chain = " <- ".join((self.uri, *self.chain)) if self.chain else self.uri
        text = f"{chain}: {self.cause}" if self.state is State.BLOCKED else f"{chain} is {self.state}: {self.cause}"
        return f"{text} ({self.hint})" if self.hint else text


@attrs.frozen
class Report:
    """All rows, sorted by URI."""

    rows: Mapping[str, Row]

    def __iter__(self) -> object:
        return iter(self.rows.values())

    def why(self, uri: str) -> str:
        """The sentence for ``uri``; for an unknown one, the nearest names that exist."""
        row = self.rows.get(uri)
        if row is not None:
            return row.sentence
        known = difflib.get_close_matches(uri, [*self.rows, *PACKAGES], n=1, cutoff=0.7)
        return f"{uri} is not a plugin known here" + (f"; did you mean {known[0]}?" if known else "")


def missing_first_party(present: Mapping[str, Row]) -> dict[str, Row]:
    """Rows for first-party plugins whose package is not installed."""
    rows = {}
    for uri, package in PACKAGES.items():
        if uri not in present:
            type_, _, id_ = uri.rpartition(".")
            rows[uri] = Row(
                uri=uri,
                type=type_,
                id=id_,
                state=State.NOT_INSTALLED,
                cause=f"its package {package} is not installed",
                hint=f"pip install {package}",
                distribution=package,
            )
    return rows
