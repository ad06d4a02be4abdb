"""Garbage collection: what there is, what it refers to, and who takes it away.

Two sides. Core is the `Inventory` (``io.containerd.gc-inventory.v1``): it knows the tables and the back ends, lists
everything as `Entry` records, and removes what it is told to. A collector (``io.containerd.gc.v1``, a package of its own)
decides what that is and when, and is to everyone else a `GarbageCollector`.

Kinds of nodes are named as leases name resources: ``content``, ``ingests``, ``images``, ``snapshots/NAME``; and ``leases``,
``containers``, ``sandboxes`` and ``commits/NAME`` (commits of snapshots under way), of which only leases are ever collected.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import attrs

from .types import EMPTY

CONTENT, INGESTS, IMAGES, LEASES = "content", "ingests", "images", "leases"
CONTAINERS, SANDBOXES = "containers", "sandboxes"
SNAPSHOTS, COMMITS = "snapshots/", "commits/"  # each followed by the name of a snapshotter
COLLECTED = (CONTENT, INGESTS, IMAGES, LEASES)  # and every kind that starts with SNAPSHOTS


class Node(NamedTuple):
    """Something that refers or is referred to; it need not exist. A tuple, for there are very many."""

    kind: str
    namespace: str
    key: str

    def __str__(self) -> str:
        return f"{self.namespace}:{self.kind}/{self.key}"


class Entry(NamedTuple):
    """A node that exists. ``labels`` are those that collection knows (``containerd.io/gc.…``), or all if asked for.

    ``refs`` is what the record itself refers to: a snapshot's parent, an image's target, a container's snapshot, what a
    lease holds, what an ingest shares. ``expires`` is an ingest's own expiry, ``created`` when the record was made (an image:
    changed), in nanoseconds since the epoch; 0 is none. ``image`` is what a container says it was made from.
    """

    node: Node
    labels: Mapping[str, str] = EMPTY
    refs: Sequence[Node] = ()
    expires: int = 0
    created: int = 0
    image: str = ""


class Change(NamedTuple):
    """A row that was written. ``removed``: in a way that may leave garbage. ``labels`` and ``expires`` tell when it expires."""

    node: Node
    removed: bool
    labels: Mapping[str, str] = EMPTY
    expires: int = 0


@attrs.define
class Removed:
    """What `Inventory.forget` took out of the records and `Inventory.discard` takes off the disk."""

    nodes: list[Node] = attrs.field(factory=list)
    blobs: set[str] = attrs.field(factory=set)
    ingests: list[str] = attrs.field(factory=list)
    snapshots: list[tuple[str, str]] = attrs.field(factory=list)


class ContentSweeper(Protocol):
    """What the content service does for a collection. It logs what fails and says so in its answer."""

    def discard(self, digests: Iterable[str], ingests: Iterable[str]) -> Swept:
        """Delete blobs that no record names any more, and ingests by their name at the back end."""
        ...

    def discard_orphans(self) -> Swept:
        """Delete every blob and ingest at the back end that no record names."""
        ...


class SnapshotSweeper(Protocol):
    """What the snapshots service does for a collection."""

    def names(self) -> Sequence[str]: ...

    def discard(self, snapshotter: str, names: Iterable[str]) -> Swept:
        """Remove snapshots by their names at the back end, in whatever order works."""
        ...

    def finish(self, snapshotter: str) -> Swept:
        """Return once the files of what was removed are off the disk."""
        ...

    def discard_orphans(self, snapshotter: str) -> Swept:
        """Remove every snapshot at the back end that no record names, and what removals left on its disk."""
        ...


@attrs.frozen
class Swept:
    """How many went, the bytes of blobs, and how many could not go."""

    count: int = 0
    bytes: int = 0
    failed: int = 0


class Inventory(Protocol):
    """Thread-safe. Functions that get ``db`` run in a transaction of the caller's (`Database`)."""

    def entries(self, db: sqlite3.Connection, *, all_labels: bool = False) -> Iterator[Entry]:
        """Everything of every namespace, whichever services are up: what is not listed here keeps nothing."""
        ...

    def lookup(self, db: sqlite3.Connection, nodes: Sequence[Node]) -> list[Entry]:
        """Those of ``nodes`` that exist."""
        ...

    def watch(self, db: sqlite3.Connection, note: Callable[[Change], None]) -> None:
        """From this write transaction on, call ``note`` in the writing thread for each row that is written.

        It is called before the commit, and even where that fails. May be called again, to be sure that it works.
        """
        ...

    def forget(self, db: sqlite3.Connection, nodes: Sequence[Node]) -> Removed:
        """Take ``nodes`` out of the records, in a write transaction. Those that are gone, or in use, are left out."""
        ...

    def discard(self, removed: Removed) -> int:
        """Take off the disk what was forgotten, and publish its events. Outside of transactions; the bytes of blobs.

        What fails is logged, and tried again by the next `reconcile`.
        """
        ...

    def reconcile(self) -> int:
        """End a collection: what it removed is off the disk after, and so is what no record names; how many of those.

        Back ends are searched for what crashes and failed removals left: each once, and again where a removal failed.
        """
        ...

    def sizes(self, nodes: Sequence[Node]) -> Mapping[Node, int]:
        """Bytes on disk of each of ``nodes`` that has any: blobs, ingests, snapshots. May be slow.

        What cannot be asked is left out.
        """
        ...


@attrs.frozen
class Collected:
    """One collection: its parts in seconds, what went (by kind) and the bytes of blobs that were freed.

    ``spared`` were garbage when it began and wanted before it got to them. Clients could wait for ``transactions`` only.
    """

    mark: float = 0.0
    transactions: float = 0.0
    removal: float = 0.0
    removed: Mapping[str, int] = attrs.field(factory=dict)
    bytes: int = 0
    spared: int = 0
    started_at: datetime | None = None


@attrs.frozen
class Item:
    """One thing in a plan or a prune; ``bytes`` is -1 where it is not known, ``reason`` says why it goes."""

    node: Node
    bytes: int = -1
    reason: str = ""


@attrs.frozen
class Step:
    """A step on the way from a root: ``node``, reached ``by`` a label or by what the record says."""

    node: Node
    by: str


@attrs.frozen
class Selection:
    """What to prune. ``kind`` is images, containers, snapshots, content or leases.

    ``filters`` are of the kind's service; ``unused_for`` seconds at least since the last use; ``everything``: tagged
    images too. ``snapshotter`` "" is every one.
    """

    kind: str
    namespace: str
    filters: Sequence[str] = ()
    unused_for: float = 0.0
    everything: bool = False
    snapshotter: str = ""
    dry_run: bool = False


@attrs.frozen
class Share:
    """One owner's part of the disk. ``owner`` is image, container, lease, ingest, root (a label keeps it) or orphan.

    ``unique`` bytes would be free without it; ``shared`` bytes others own too.
    """

    namespace: str
    owner: str
    name: str
    unique: int
    shared: int


@attrs.frozen
class DiskUsage:
    """Every byte attributed. ``total`` counts each byte once."""

    shares: Sequence[Share]
    blobs: int
    snapshots: int
    total: int


class GarbageCollector(Protocol):
    """``io.containerd.gc.v1``. Thread-safe; every call blocks, so run it off the event loop."""

    def collect(self) -> Collected:
        """Run a collection that begins now, after what was committed before, and wait for its end."""
        ...

    def plan(self, namespace: str = "") -> Sequence[Item]:
        """What a collection would take now, of one namespace or of all."""
        ...

    def why(self, namespace: str, key: str) -> Sequence[Step]:
        """The shortest way from a root to what is called ``key`` (``KIND/KEY`` or KEY); empty: nothing keeps it.

        :raises NotFound: there is no such thing.
        """
        ...

    def prune(self, selection: Selection) -> Sequence[Item]:
        """Remove what ``selection`` says and nothing uses, then collect; what went, or with its dry run would go."""
        ...

    def usage(self, namespace: str = "") -> DiskUsage:
        """Whose the bytes on disk are."""
        ...
