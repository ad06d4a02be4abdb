"""Whose the bytes on disk are. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from pycontainerd.contracts.gc import (
    CONTAINERS,
    CONTENT,
    IMAGES,
    INGESTS,
    LEASES,
    SNAPSHOTS,
    DiskUsage,
    Node,
    Share,
)

from .mark import Marking

Owner = tuple[str, str, str]  # namespace, what it is, its name
_OWNERS = {IMAGES: "image", CONTAINERS: "container", LEASES: "lease", INGESTS: "ingest"}


def takes_space(node: Node) -> bool:
    """Whether there is something on disk behind nodes of this kind."""
    return node.kind in (CONTENT, INGESTS) or node.kind.startswith(SNAPSHOTS)


def usage(marking: Marking, sizes: Mapping[Node, int], namespace: str = "") -> DiskUsage:
    """Every byte with its owners. ``namespace`` "" is all; else others' count only where they share."""
    owners: dict[Node, set[Owner]] = defaultdict(set)
    for root in marking.roots:
        owner = (root.namespace, _OWNERS.get(root.kind, "root"), root.key)
        for node in _reached(marking, root):
            if node in marking.entries and takes_space(node):
                owners[_on_disk(node)].add(owner)
    for node in marking.entries:
        if takes_space(node) and not marking.live(node):
            owners[_on_disk(node)].add((node.namespace, "orphan", ""))
    on_disk: dict[Node, int] = {}
    for node, size in sizes.items():
        on_disk[_on_disk(node)] = size
    return _summed(owners, on_disk, namespace)


def _summed(owners: Mapping[Node, set[Owner]], sizes: Mapping[Node, int], namespace: str) -> DiskUsage:
    unique: dict[Owner, int] = defaultdict(int)
    shared: dict[Owner, int] = defaultdict(int)
    blobs = snapshots = 0
    for node, its in owners.items():
        mine = [owner for owner in its if namespace in ("", owner[0])]
        if not mine:
            continue
        size = sizes.get(node, 0)
        if node.kind in (CONTENT, INGESTS):
            blobs += size
        else:
            snapshots += size
        for owner in mine:
            (unique if len(its) == 1 else shared)[owner] += size
    shares = [
        Share(owner[0], owner[1], owner[2], unique[owner], shared[owner]) for owner in unique.keys() | shared.keys()
    ]
    shares.sort(key=lambda one: (one.owner == "orphan", -one.unique, one.namespace, one.owner, one.name))
    return DiskUsage(shares, blobs, snapshots, blobs + snapshots)


def _on_disk(node: Node) -> Node:
    """A blob is on disk once, in however many namespaces it is."""
    return Node(CONTENT, "", node.key) if node.kind == CONTENT else node


def _reached(marking: Marking, root: Node) -> Iterator[Node]:
    """Everything that ``root`` keeps, itself too."""
    seen: set[tuple[Node, bool]] = set()
    stack = [(root, True)]
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        node, deep = state
        yield node
        edges = marking.edges(node) if deep else marking.flat_edges(node)
        stack += [(target, deep) for _, target in edges]
        if deep:
            stack += list(marking.held_flat(node))
