"""The order of plugins. Pure: registrations in, an order or an explanation out; linear in plugins and requirements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import attrs

from .errors import CycleError
from .registration import Registration


@attrs.frozen
class Graph:
    """``order`` is a topological order; ``before[uri]`` are the plugins that come before ``uri``, sorted."""

    order: Sequence[str]
    before: Mapping[str, Sequence[str]]


def resolve(registrations: Iterable[Registration]) -> Graph:
    """Order ``registrations`` so that each comes after what it requires and wants.

    The order depends on the set only, not on the sequence. What is required but not there is no error here: the
    initializer reports it.

    :raises CycleError: with the whole cycle.
    """
    by_uri = {registration.uri: registration for registration in sorted(registrations, key=lambda r: r.uri)}
    of_type: dict[str, list[str]] = defaultdict(list)
    for uri, registration in by_uri.items():
        of_type[registration.type].append(uri)
    before = {uri: _before(registration, by_uri, of_type) for uri, registration in by_uri.items()}
    return Graph(_order(before), before)


def _before(
    registration: Registration, by_uri: Mapping[str, Registration], of_type: Mapping[str, Sequence[str]]
) -> Sequence[str]:
    found: set[str] = set()
    for name in (*registration.requires, *registration.wants):
        if name in by_uri:
            found.add(name)
        else:
            found.update(of_type.get(name, ()))
    # A plugin may want the type it is of: it then comes after its siblings that do not want it.
    if registration.type in registration.wants:
        found.discard(registration.uri)
    return sorted(found)


def _order(before: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Kahn's algorithm over sorted names, so that ties always break the same way."""
    waiting = {uri: len(earlier) for uri, earlier in before.items()}
    after: dict[str, list[str]] = defaultdict(list)
    for uri, earlier in before.items():
        for name in earlier:
            after[name].append(uri)
    order = [uri for uri, count in waiting.items() if count == 0]
    for uri in order:  # grows while it is walked
        for name in after[uri]:
            waiting[name] -= 1
            if waiting[name] == 0:
                order.append(name)
    if len(order) != len(before):
        raise CycleError(_cycle({uri: before[uri] for uri, count in waiting.items() if count}))
    return order


def _cycle(stuck: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """A cycle among ``stuck`` plugins: walk back along requirements until one is seen again."""
    path: list[str] = []
    position: dict[str, int] = {}
    uri = min(stuck)
    while uri not in position:
        position[uri] = len(path)
        path.append(uri)
        uri = next(name for name in stuck[uri] if name in stuck)
    return path[position[uri] :]
