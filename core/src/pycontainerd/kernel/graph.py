"""The order of plugins. Pure: registrations in, an order or an explanation out; linear in plugins and requirements.

A type that is required is a node of its own between those who require it and those who are it: a thousand plugins that
require a type of a thousand plugins make two thousand edges, not a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

import attrs

from .errors import CycleError
from .registration import Registration

_ALL = ".*"  # after a type: all plugins of it. No plugin URI ends like that
_OTHERS = ".-"  # after a type: those of it that do not want it themselves


@attrs.frozen
class Graph:
    """``order`` is a topological order of the plugins; ``direct`` what comes directly before each: plugins and groups.

    ``groups`` has the plugins of each group.
    """

    order: Sequence[str]
    direct: Mapping[str, Sequence[str]]
    groups: Mapping[str, Sequence[str]] = attrs.field(factory=dict)

    def before(self, uri: str) -> Sequence[str]:
        """The plugins that come directly before ``uri``, sorted. It costs their number."""
        return sorted({one for name in self.direct[uri] for one in self.groups.get(name, (name,))})

    def sorter(self) -> TopologicalSorter[str]:
        """Gives what may come next, plugins and groups; a group is done as soon as it is ready."""
        return TopologicalSorter({**self.direct, **self.groups})


def resolve(registrations: Iterable[Registration]) -> Graph:
    """Order ``registrations`` so that each comes after what it requires and wants.

    The order depends on the set only, not on the sequence. What is required but not there is no error here: the
    initializer reports it.

    :raises CycleError: with the whole cycle.
    """
    given = {registration.uri: registration for registration in registrations}
    by_uri = {uri: given[uri] for uri in sorted(given)}
    of_type: dict[str, list[str]] = {}
    for uri, registration in by_uri.items():
        of_type.setdefault(registration.type, []).append(uri)
    groups: dict[str, list[str]] = {}
    direct = {uri: _before(registration, by_uri, of_type, groups) for uri, registration in by_uri.items()}
    return Graph(_order(direct, groups), direct, groups)


def _before(
    registration: Registration,
    by_uri: Mapping[str, Registration],
    of_type: Mapping[str, list[str]],
    groups: dict[str, list[str]],
) -> Sequence[str]:
    """What comes directly before a plugin; a type becomes one of ``groups`` when it is first asked for."""
    if not registration.requires and not registration.wants:
        return ()
    found: dict[str, None] = {}
    for name in (*registration.requires, *registration.wants):
        if name in by_uri:
            found[name] = None
        elif name in of_type:
            # A plugin may want the type it is of: it then comes after its siblings that do not want it.
            own = name == registration.type and name in registration.wants
            group = name + (_OTHERS if own else _ALL)
            if group not in groups:
                groups[group] = [uri for uri in of_type[name] if not (own and name in by_uri[uri].wants)]
            found[group] = None
    return tuple(found)


def _order(direct: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Kahn's algorithm over sorted names, so that ties always break the same way. In numbers, which are faster."""
    names = [*direct, *groups]
    number = {name: place for place, name in enumerate(names)}
    after: list[list[int]] = [[] for _ in names]
    waiting = []
    for place, earlier in enumerate((*direct.values(), *groups.values())):
        waiting.append(len(earlier))
        for name in earlier:
            after[number[name]].append(place)
    order = [place for place, count in enumerate(waiting) if count == 0]
    for done in order:  # grows while it is walked
        for place in after[done]:
            waiting[place] -= 1
            if waiting[place] == 0:
                order.append(place)
    if len(order) != len(names):
        before = {**direct, **groups}
        cycle = _cycle({names[place]: before[names[place]] for place, count in enumerate(waiting) if count})
        raise CycleError([name for name in cycle if name not in groups])
    return [names[place] for place in order if place < len(direct)]


def _cycle(stuck: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """A cycle among ``stuck`` nodes: walk back along requirements until one is seen again."""
    path: list[str] = []
    position: dict[str, int] = {}
    name = min(stuck)
    while name not in position:
        position[name] = len(path)
        path.append(name)
        name = next(one for one in stuck[name] if one in stuck)
    return path[position[name] :]
