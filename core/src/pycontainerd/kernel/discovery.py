"""Finds plugins by entry point. The only file that touches stevedore.

stevedore's own listing drops the distribution of an entry point, keeps a cache under the home directory and can miss
what was just installed; `_Manager` reads importlib.metadata instead. Only named entry points are imported, so a
disabled plugin's code never runs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

import attrs

from .errors import DuplicatePluginError, RegistrationError, Skip
from .registration import Registration, name_in, split_uri

GROUP = "pycontainerd.plugins"
# Plugins that others import, and who; the kernel lists them and leaves them alone.
ELSEWHERE: Mapping[str, str] = {
    "io.containerd.ctr.v1": "it is a command of ctr, which imports it when it is called",
    "io.containerd.config-migration.v1": "it is imported with the configuration, not by the daemon's kernel",
}


@attrs.frozen
class Found:
    """An entry point that was there: not imported, imported (``registration``), or failed to (``error``).

    ``made_of`` is what a plugin that the configuration makes was made of: while it is equal, a reload leaves it alone.
    """

    uri: str
    distribution: str
    version: str
    registration: Registration | None = None
    error: BaseException | None = None
    import_seconds: float = 0.0
    made_of: object = None


class _TimedEntryPoint:
    """An entry point that remembers how long its import took and turns SystemExit into a failure like any other."""

    def __init__(self, point: EntryPoint) -> None:
        self.name, self.value, self.group, self.dist = point.name, point.value, point.group, point.dist
        self.module, self.attr, self.extras = point.module, point.attr, point.extras
        self._point = point
        self.seconds = 0.0

    def load(self) -> Any:
        """What the entry point leads to; called by stevedore."""
        began = time.perf_counter()
        try:
            return self._point.load()
        except SystemExit as exc:
            raise ImportError(f"the module called sys.exit({exc.code!r}) while it was imported") from exc
        finally:
            self.seconds = time.perf_counter() - began


def discover(disabled: Collection[str] = (), group: str = GROUP) -> Mapping[str, Found]:
    """Every installed plugin by URI; those in ``disabled`` are listed but not imported.

    :raises DuplicatePluginError: one URI comes from two distributions.
    """
    points = _points(group)
    ours = [point for name, point in points.items() if not name_in(disabled, name) and not _elsewhere(name)]
    loaded, failures = _load(ours, group)
    for uri in points:
        if _elsewhere(uri) and not name_in(disabled, uri):
            try:
                loaded[uri] = _listed(uri)
            except RegistrationError as exc:
                failures[uri] = exc
    return {uri: _found(point, loaded.get(uri), failures.get(uri)) for uri, point in points.items()}


def installed(type: str, group: str = GROUP) -> list[str]:  # noqa: A002 - the field's name
    """The URIs of the installed plugins of ``type``. Nothing is imported.

    :raises DuplicatePluginError: one URI comes from two distributions.
    """
    return [uri for uri in _points(group) if uri.startswith(f"{type}.")]


def modules(uris: Collection[str], group: str = GROUP) -> tuple[dict[str, object], dict[str, BaseException]]:
    """Import installed plugins that do not belong to the kernel (see `ELSEWHERE`): what is loaded, and what failed."""
    return _load([point for uri, point in _points(group).items() if uri in uris], group)


def _elsewhere(uri: str) -> str:
    """Who imports the plugin instead of the kernel, "" for the kernel's own."""
    return next((who for type_, who in ELSEWHERE.items() if uri.startswith(f"{type_}.")), "")


def _listed(uri: str) -> Registration:
    """A stand-in for what is imported elsewhere, so that the report has a row for it like for any other.

    :raises RegistrationError: its entry point's name is no plugin URI.
    """
    who = _elsewhere(uri)

    async def skip(_context: object) -> None:
        raise Skip(who)

    type_, id_ = split_uri(uri)
    return Registration(type=type_, id=id_, init=skip)


def _points(group: str) -> dict[str, _TimedEntryPoint]:
    by_name: dict[str, _TimedEntryPoint] = {}
    for point in map(_TimedEntryPoint, entry_points(group=group)):
        other = by_name.setdefault(point.name, point)
        if (other.value, _dist(other)) != (point.value, _dist(point)):
            raise DuplicatePluginError(
                point.name, [" ".join(_dist(one)) or "an unknown package" for one in (other, point)]
            )
    return dict(sorted(by_name.items()))


def _dist(point: _TimedEntryPoint) -> tuple[str, str]:
    return _name_and_version(point.dist) if point.dist is not None else ("", "")


@functools.lru_cache(256)
def _name_and_version(dist: Distribution) -> tuple[str, str]:
    """Cached, because each look at a distribution's name reads its METADATA file anew.

    That file is a head of fields and a long text. Its parser reads all of it, at a millisecond a distribution; name and
    version are in the first lines.
    """
    head = (dist.read_text("METADATA") or "").partition("\n\n")[0]
    fields = dict(
        line.split(": ", 1) for line in reversed(head.splitlines()) if line.startswith(("Name: ", "Version: "))
    )
    return fields.get("Name", "").strip() or dist.name, fields.get("Version", "").strip() or dist.version


def _load(points: Sequence[_TimedEntryPoint], group: str) -> tuple[dict[str, object], dict[str, BaseException]]:
    from stevedore.named import NamedExtensionManager

    class _Manager(NamedExtensionManager):  # type: ignore[type-arg, misc, unused-ignore]
        def list_entry_points(self) -> Any:
            return list(points)

    failures: dict[str, BaseException] = {}
    manager = _Manager(
        group,
        [point.name for point in points],
        on_load_failure_callback=lambda _manager, point, exc: failures.update({point.name: exc}),
    )
    return {extension.name: extension.plugin for extension in manager}, failures


def _found(point: _TimedEntryPoint, loaded: object, error: BaseException | None) -> Found:
    found = Found(point.name, *_dist(point), import_seconds=point.seconds, error=error)
    if loaded is None:
        return found
    if not isinstance(loaded, Registration):
        return attrs.evolve(found, error=RegistrationError(f"its entry point leads to {loaded!r}, not a Registration"))
    if loaded.uri != point.name:
        return attrs.evolve(
            found,
            error=RegistrationError(f"its entry point is named {point.name} but registers {loaded.uri}"),
        )
    return attrs.evolve(found, registration=loaded)
