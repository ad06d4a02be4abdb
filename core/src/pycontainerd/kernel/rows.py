"""From what was found and how each start ended to the rows of the report. Linear in plugins and requirements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .discovery import Found
from .errors import RegistrationError
from .firstparty import PACKAGES
from .registration import is_type, name_in, split_uri
from .report import Report, Row, State

if TYPE_CHECKING:
    from .initializer import Outcome

# Of several plugins that could satisfy a requirement, the one that says most about what is wrong.
_TELLING = (State.FAILED, State.BLOCKED, State.DISABLED, State.SKIPPED, State.OK)
_SYSTEMS = {"win32": "windows", "cygwin": "windows"}
_OTHERS = 8  # of the same type, that a cause names


class _Cause(NamedTuple):
    cause: str
    hint: str = ""


def report(found: Mapping[str, Found], outcomes: Mapping[str, Outcome], disabled: Mapping[str, str]) -> Report:
    """Where every plugin stands: those ``found``, and those of this project that are not installed."""
    rows = {uri: _row(one, outcomes.get(uri), disabled) for uri, one in found.items()}
    rows |= _not_installed(rows)
    _explain(rows)
    return Report(dict(sorted(rows.items())))


def _row(found: Found, outcome: Outcome | None, disabled: Mapping[str, str]) -> Row:
    type_, id_ = _split(found.uri)
    row = Row(
        uri=found.uri,
        type=type_,
        id=id_,
        state=State.BLOCKED,
        cause="the daemon is still starting",
        distribution=found.distribution,
        version=found.version,
        import_seconds=found.import_seconds,
    )
    if name := name_in(disabled, found.uri):
        row.state, row.cause = State.DISABLED, f"disabled at {disabled[name]}"
        return row
    if found.error is not None:
        row.state, row.cause = State.FAILED, f"import failed: {found.error or type(found.error).__name__}"
        return row
    if found.registration is not None:
        row.requires, row.wants = tuple(found.registration.requires), tuple(found.registration.wants)
        row.platforms = [_SYSTEMS.get(name, name) for name in found.registration.platforms]
    if outcome is not None:
        _ended(row, outcome)
    return row


def _ended(row: Row, outcome: Outcome) -> None:
    row.state, row.cause, row.hint = outcome.state, outcome.cause, getattr(outcome, "hint", "")
    row.blocked_by, row.init_seconds = outcome.blocked_by, outcome.seconds
    if outcome.context is not None:
        row.exports, row.capabilities = outcome.context.exports, outcome.context.capabilities
        row.platforms = outcome.context.platforms or row.platforms


def _not_installed(present: Mapping[str, Row]) -> dict[str, Row]:
    """Rows for first-party plugins whose package is not there."""
    rows = {}
    for uri, package in PACKAGES.items():
        if uri not in present:
            type_, id_ = _split(uri)
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


def _explain(rows: Mapping[str, Row]) -> None:
    """Give each row that waits for another the root cause, and the way to it."""
    of_type: dict[str, list[Row]] = defaultdict(list)
    for row in rows.values():
        of_type[row.type].append(row)
    waiting = {uri for uri, row in rows.items() if row.state is State.BLOCKED and row.blocked_by}
    links = {uri: _target(rows[uri].blocked_by, of_type) for uri in waiting}
    roots: dict[str, _Cause] = {}
    for uri in waiting:
        path = []
        name = uri
        while name in waiting and name not in roots:
            roots[name] = _Cause("it waits for itself")  # replaced below, unless that is so
            path.append(name)
            name = links[name]
        root = roots.get(name) or _root(rows[path[-1]].blocked_by, rows.get(name), of_type)
        roots.update(dict.fromkeys(path, root))
    for uri in waiting:
        (rows[uri].cause, rows[uri].hint), rows[uri].links = roots[uri], links


def _target(name: str, of_type: Mapping[str, Sequence[Row]]) -> str:
    """The plugin that should satisfy ``name``, or the name itself where there is none."""
    if not is_type(name):
        return name
    installed = [one for one in of_type.get(name, ()) if one.state is not State.NOT_INSTALLED]
    return min(installed, key=lambda one: (_TELLING.index(one.state), one.uri)).uri if installed else name


def _root(name: str, row: Row | None, of_type: Mapping[str, Sequence[Row]]) -> _Cause:
    """Why ``row``, which should satisfy the requirement ``name``, does not."""
    if row is not None:
        return _Cause(row.reason + _siblings(name, row, of_type), row.hint)
    hint = next((one.hint for one in of_type.get(name, ())), "")
    return _Cause("no plugin of this type is installed" if is_type(name) else "it is not installed", hint)


def _siblings(name: str, chosen: Row, of_type: Mapping[str, Sequence[Row]]) -> str:
    """The other plugins that could have satisfied the type ``name``, with what is wrong with each."""
    others = [one for one in of_type.get(name, ()) if one is not chosen and one.state in _TELLING[:-1]]
    said = [f"{one.uri} ({one.reason})" for one in others[:_OTHERS] if one.state is not State.BLOCKED]
    return f"; nor is there {', '.join(said)}" if said else ""


def _split(uri: str) -> tuple[str, str]:
    """Type and id, also of an entry point whose name is not a plugin URI."""
    try:
        return split_uri(uri)
    except RegistrationError:
        type_, _, id_ = uri.rpartition(".")
        return type_, id_
