"""Finds what is reachable. Pure: entries in, a marking out.

Roots are leases and images that have not expired, containers, sandboxes, commits under way, ingests until they expire, and
what has a root label. From a root everything is kept that records and labels lead to; from a flat lease only what it
holds itself, with the parents of snapshots and the targets of images, whatever their labels say.

While the marking is used, things change. `Marking.revive` takes in what was written since: whatever was touched is a
root from then on, so that garbage somebody has come to want stays. It is never wrong to keep something until the next
collection.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator

from pycontainerd.contracts.gc import (
    COMMITS,
    CONTAINERS,
    CONTENT,
    IMAGES,
    INGESTS,
    LEASES,
    SANDBOXES,
    SNAPSHOTS,
    Entry,
    Node,
)

from . import labels as rules

STRIDE = 250  # steps between two calls of ``pause``
Edge = tuple[str, Node]
_ROOTS = {CONTAINERS: "a container", SANDBOXES: "a sandbox"}
_MORTALS = {IMAGES: "an image", LEASES: "a lease"}
_FIELDS = {CONTAINERS: "its snapshot", IMAGES: "its target", LEASES: "the lease", INGESTS: "what it shares"}


def _no_pause() -> None:
    """Nobody waits."""


class Marking:
    """What ``entries`` keep at the time ``now`` (seconds since the epoch). ``pause`` is called every now and then.

    ``without`` are nodes that shall be no roots, whatever they are; only then containers can be garbage too.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        now: float,
        pause: Callable[[], None] = _no_pause,
        without: Container[Node] = (),
    ) -> None:
        self.now = now
        self._without = without
        self.entries: dict[Node, Entry] = {}
        self.roots: dict[Node, str] = {}
        self.next_expiry = math.inf
        self._back: dict[Node, list[Edge]] = defaultdict(list)
        self._conditional: list[tuple[Node, rules.Condition]] = []
        self._used: dict[Node, list[float]] = {}
        self._deep: set[Node] = set()
        self._flat: set[Node] = set()
        self._pause = pause
        self._steps = 0
        for entry in entries:
            self._add(entry)
        for node, condition in self._conditional:
            target = Node(condition.kind, node.namespace, condition.key)
            if any(condition.holds(used, now) for used in self._used.get(target, ())):
                self._back[node].append((condition.label, target))
        held = [one for root in self.roots if root.kind == LEASES for one in self.held_flat(root)]
        self._spread([*self.roots, *(node for node, deep in held if deep)])
        self._spread_flat([node for node, deep in held if not deep])

    def live(self, node: Node) -> bool:
        """Whether something keeps ``node``."""
        return node in self._deep or node in self._flat

    def garbage(self) -> list[Node]:
        """What can go, in an order in which it may go: nothing before what is based on it."""
        found: dict[str, list[Node]] = {CONTAINERS: [], IMAGES: [], SNAPSHOTS: [], CONTENT: [], INGESTS: [], LEASES: []}
        for node in self.entries:
            self._step()
            group = SNAPSHOTS if node.kind.startswith(SNAPSHOTS) else node.kind
            if group in found and not self.live(node):
                found[group].append(node)
        depths = self._depths(found[SNAPSHOTS])
        found[SNAPSHOTS].sort(key=lambda node: -depths[node])
        return [node for group in found.values() for node in group]

    def revive(self, touched: Iterable[Node], entries: Iterable[Entry]) -> None:
        """Keep what is there of ``touched`` now, the ``entries``, and what that leads to."""
        for node in touched:
            self.entries.pop(node, None)
        stack = []
        for entry in entries:
            self.entries[entry.node] = entry
            stack.append(entry.node)
            self._deep.discard(entry.node)  # its references may be new
            space = entry.node.namespace
            stack.extend(Node(one.kind, space, one.key) for one in rules.conditions(entry.labels))
            if entry.node.kind == LEASES:
                stack.extend(entry.refs)
        self._spread(stack)

    def edges(self, node: Node) -> Iterator[Edge]:
        """What ``node`` leads to, each with what it is by: a label, or a part of its record."""
        yield from self._back.get(node, ())
        entry = self.entries.get(node)
        if entry is None:
            return
        yield from self.own_edges(entry)
        if entry.labels and node.kind not in (INGESTS, LEASES):
            for label, kind, key in rules.references(entry.labels):
                yield label, Node(kind, node.namespace, key)

    def own_edges(self, entry: Entry) -> Iterator[Edge]:
        """What its record leads to, labels aside. A flat lease's holdings are no edges: they are kept without theirs."""
        kind = entry.node.kind
        if entry.refs and not (kind == LEASES and rules.FLAT in entry.labels):
            by = "its parent" if kind.startswith(SNAPSHOTS) else _FIELDS.get(kind, "a commit under way")
            for node in entry.refs:
                yield by, node

    def flat_edges(self, node: Node) -> Iterator[Edge]:
        """What ``node`` leads to where only a flat lease keeps it."""
        if (node.kind == IMAGES or node.kind.startswith(SNAPSHOTS)) and node in self.entries:
            yield from self.own_edges(self.entries[node])

    def held_flat(self, lease: Node) -> Iterator[tuple[Node, bool]]:
        """What ``lease`` holds, if it is flat and has not expired; and whether that keeps what it leads to."""
        if lease.kind == LEASES and lease in self.roots and rules.FLAT in self.entries[lease].labels:
            for node in self.entries[lease].refs:
                yield node, node.kind == INGESTS

    def _add(self, entry: Entry) -> None:
        self._step()
        node = entry.node
        self.entries[node] = entry
        reason = "" if node in self._without else self._why_root(entry)
        if reason:
            self.roots[node] = reason
        if not entry.labels or node.kind == LEASES:
            return
        for label, kind, key in rules.back_references(entry.labels):
            self._back[Node(kind, node.namespace, key)].append((label, node))
        if node.kind in (CONTENT, IMAGES):
            self._conditional += [(node, condition) for condition in rules.conditions(entry.labels)]
        elif node.kind.startswith(SNAPSHOTS) and (moments := list(rules.used_at(entry.labels))):
            self._used[node] = moments

    def _why_root(self, entry: Entry) -> str:
        """Why ``entry`` is a root; empty where it is none."""
        kind = entry.node.kind
        if kind in _ROOTS or kind.startswith(COMMITS):
            return _ROOTS.get(kind, "a commit under way")
        if kind in (LEASES, IMAGES):
            until = rules.expiry(entry.labels)
            return _MORTALS[kind] if until is None or self._lasts(until) else ""
        if kind == INGESTS:
            return "an ingest under way" if entry.expires and self._lasts(entry.expires / 1e9) else ""
        return f"label {rules.ROOT}" if entry.labels and rules.is_root(entry.labels) else ""

    def _lasts(self, until: float) -> bool:
        if until < self.now:
            return False
        self.next_expiry = min(self.next_expiry, until)
        return True

    def _spread(self, stack: list[Node]) -> None:
        while stack:
            self._step()
            node = stack.pop()
            if node not in self._deep:
                self._deep.add(node)
                stack.extend([target for _, target in self.edges(node)])

    def _spread_flat(self, stack: list[Node]) -> None:
        while stack:
            self._step()
            node = stack.pop()
            if node not in self._deep and node not in self._flat:
                self._flat.add(node)
                stack.extend([target for _, target in self.flat_edges(node)])

    def _depths(self, nodes: Iterable[Node]) -> dict[Node, int]:
        """How many parents each of the snapshots has."""
        depths: dict[Node, int] = {}
        for start in nodes:
            chain: list[Node] = []
            node: Node | None = start
            while node is not None and node not in depths:
                depths[node] = 0  # should parents form a circle, it ends here
                chain.append(node)
                parents = self.entries[node].refs if node in self.entries else ()
                node = parents[0] if parents else None
            depth = -1 if node is None else depths[node]
            for one in reversed(chain):
                depth += 1
                depths[one] = depth
        return depths

    def _step(self) -> None:
        self._steps += 1
        if self._steps % STRIDE == 0:
            self._pause()
