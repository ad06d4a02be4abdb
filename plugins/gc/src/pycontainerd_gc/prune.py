"""What a prune takes: which roots nothing but themselves needs. Pure; a collection without them does the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

import attrs

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.gc import (
    CONTAINERS,
    CONTENT,
    IMAGES,
    LEASES,
    SNAPSHOTS,
    Entry,
    Node,
    Selection,
)
from pycontainerd.contracts.labels import field as label_field

from . import labels as rules
from .mark import Marking

KINDS = (IMAGES, CONTAINERS, "snapshots", CONTENT, LEASES)
PINNED = "io.cri-containerd.pinned"  # label of images that CRI wants kept
LastUse = Callable[[Node], float]


@attrs.frozen
class Facts:
    """What a prune asks others. ``used_at``: when a node was last used, in seconds, 0 where nobody knows.

    ``busy(container)``: it has a task. ``pinned(image)``: it is to be kept.
    """

    used_at: LastUse
    busy: Callable[[Node], bool]
    pinned: Callable[[Entry], bool] = lambda entry: entry.labels.get(PINNED) == "pinned"


def choose(marking: Marking, selection: Selection, facts: Facts) -> Mapping[Node, str]:
    """The roots that shall keep nothing any more, each with why.

    :raises InvalidArgument: there is nothing of that kind to prune, or a filter is wrong.
    """
    if selection.kind not in KINDS:
        raise InvalidArgument(f"cannot prune {selection.kind[:80]!r}", hint=", ".join(KINDS))
    wanted = parse(selection.filters)
    chosen = {}
    for entry, reason in _candidates(marking, selection, facts):
        idle = marking.now - last_use(entry, facts.used_at)
        if idle < selection.unused_for or not wanted.match(match_field(entry)):
            continue
        chosen[entry.node] = f"{reason}, unused for {_duration(idle)}"
    return chosen


def last_use(entry: Entry, used_at: LastUse) -> float:
    """When ``entry`` was last used, or made: in seconds."""
    return max(used_at(entry.node), entry.created / 1e9)


def _candidates(marking: Marking, selection: Selection, facts: Facts) -> Iterator[tuple[Entry, str]]:
    entries = [entry for entry in marking.entries.values() if entry.node.namespace == selection.namespace]
    if selection.kind == IMAGES:
        for entry in unused_images(marking, entries, facts):
            if selection.everything or is_dangling(entry.node.key):
                yield entry, "no container uses it"
        return
    for entry in entries:
        kind = entry.node.kind
        if kind == CONTAINERS and selection.kind == CONTAINERS and not facts.busy(entry.node):
            yield entry, "it has no task"
        elif kind == LEASES and selection.kind == LEASES and entry.node in marking.roots:
            if selection.everything or rules.EXPIRE not in entry.labels:
                yield entry, "a lease that never expires" if rules.EXPIRE not in entry.labels else "a lease"
        elif _keeps_itself(entry, selection) and entry.node in marking.roots:
            yield entry, "only its own label keeps it"


def _keeps_itself(entry: Entry, selection: Selection) -> bool:
    kind = entry.node.kind
    if kind == CONTENT:
        return selection.kind == CONTENT
    if selection.kind != "snapshots" or not kind.startswith(SNAPSHOTS):
        return False
    return selection.snapshotter in ("", kind.removeprefix(SNAPSHOTS))


def unused_images(marking: Marking, entries: Sequence[Entry], facts: Facts) -> list[Entry]:
    """The images that no container needs: neither by name nor because it stands on their layers."""
    names = {(e.node.namespace, e.image) for e in entries if e.node.kind == CONTAINERS and e.image}
    used = _stood_on(marking, entries)
    return [
        entry
        for entry in entries
        if entry.node.kind == IMAGES
        and entry.node in marking.roots
        and (entry.node.namespace, entry.node.key) not in names
        and not facts.pinned(entry)
        and not unpacked(marking, entry.node) & used
    ]


def _stood_on(marking: Marking, entries: Sequence[Entry]) -> set[Node]:
    """The snapshots of containers, and those directly below them."""
    found: set[Node] = set()
    for entry in entries:
        if entry.node.kind == CONTAINERS:
            found.update(entry.refs)
            for node in entry.refs:
                found.update(marking.entries[node].refs if node in marking.entries else ())
    return found


def unpacked(marking: Marking, image: Node) -> set[Node]:
    """The snapshots that the blobs of ``image`` name: its top layers, one for each snapshotter and platform."""
    found: set[Node] = set()
    seen: set[Node] = set()
    stack = [image]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for _, target in marking.edges(node):
            if target.kind == CONTENT:
                stack.append(target)
            elif target.kind.startswith(SNAPSHOTS):
                found.add(target)
    return found


def is_dangling(name: str) -> bool:
    """Whether an image's name says no more than its digest: no tag leads to it."""
    repository, at, _ = name.partition("@")
    if name.startswith(("sha256:", "<none>")):
        return True
    return bool(at) and ":" not in repository.rpartition("/")[2]


def repository(name: str) -> str:
    """The name of an image without tag and digest."""
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def match_field(entry: Entry) -> Callable[[Sequence[str]], str | None]:
    """The fields of ``entry`` for filters."""
    return partial(_field, entry)


def _field(entry: Entry, path: Sequence[str]) -> str | None:
    match list(path):
        case ["name" | "id" | "digest" | "key"]:
            return entry.node.key
        case ["target", "digest"] if entry.refs:
            return entry.refs[0].key
        case ["image"]:
            return entry.image
        case ["snapshotter"]:
            return entry.node.kind.removeprefix(SNAPSHOTS)
        case ["labels", *rest]:
            return label_field(entry.labels, rest)
    return None


def _duration(seconds: float) -> str:
    whole = int(max(0.0, seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def total_bytes(marking: Marking, sizes: Mapping[Node, int], nodes: Collection[Node]) -> int:
    """The bytes of those of ``nodes`` that something keeps; a blob counts once, in however many namespaces it is."""
    blobs: dict[str, int] = {}
    total = 0
    for node in nodes:
        if marking.live(node):
            if node.kind == CONTENT:
                blobs[node.key] = sizes.get(node, 0)
            else:
                total += sizes.get(node, 0)
    return total + sum(blobs.values())
