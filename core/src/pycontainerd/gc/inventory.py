"""Everything there is, as a collector wants it: read from the tables of the metadata database, removed from them.

It reads tables and not services: a service that is disabled must not make what it kept look like garbage.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pycontainerd.contracts.content import ContentService
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.events import ContainerDelete, ContentDelete, EventBus, ImageDelete, SnapshotRemove
from pycontainerd.contracts.gc import (
    CONTAINERS,
    CONTENT,
    IMAGES,
    INGESTS,
    LEASES,
    SNAPSHOTS,
    Change,
    Entry,
    Node,
    Removed,
    Swept,
)
from pycontainerd.contracts.snapshots import SnapshotService
from pycontainerd.contracts.tables import release
from pycontainerd.contracts.types import Scope

from . import triggers
from .reading import Reader

_CONTENT_STORE = ""  # beside the names of snapshotters


class MetadataInventory:
    """`contracts.gc.Inventory` over the metadata database.

    ``content`` and ``snapshots`` give those services, None while they are not up.
    """

    def __init__(
        self,
        database: Database,
        events: EventBus,
        content: Callable[[], ContentService | None],
        snapshots: Callable[[], SnapshotService | None],
    ) -> None:
        self._database = database
        self._events = events
        self._content = content
        self._snapshots = snapshots
        self._lock = threading.Lock()
        self._swept: set[str] = set()  # snapshotters that removals may have left files of
        self._clean: set[str] = set()  # back ends that have been looked at, and no removal failed since

    def entries(self, db: sqlite3.Connection, *, all_labels: bool = False) -> Iterator[Entry]:
        return Reader(db, all_labels=all_labels).everything()

    def lookup(self, db: sqlite3.Connection, nodes: Sequence[Node]) -> list[Entry]:
        reader = Reader(db)
        return [entry for node in nodes if (entry := reader.one(node)) is not None]

    def watch(self, db: sqlite3.Connection, note: Callable[[Change], None]) -> None:
        triggers.install(db, note)

    def forget(self, db: sqlite3.Connection, nodes: Sequence[Node]) -> Removed:
        removed = Removed()
        digests = set()
        for node in nodes:
            if node.kind == CONTENT:
                digests.add(node.key)
            if self._delete(db, node, removed):
                removed.nodes.append(node)
        removed.blobs |= {digest for digest in digests if not _wanted(db, digest)}
        return removed

    def _delete(self, db: sqlite3.Connection, node: Node, removed: Removed) -> bool:
        """Delete the row of ``node``, if there is one, and what leases say of it."""
        space, key = node.namespace, node.key
        if node.kind == LEASES:
            return _one(db, "DELETE FROM leases WHERE namespace = ? AND id = ? RETURNING 1", space, key) is not None
        if node.kind == CONTENT:
            found = _one(db, "DELETE FROM blobs WHERE namespace = ? AND digest = ? RETURNING 1", space, key)
        elif node.kind == IMAGES:
            found = _one(db, "DELETE FROM images WHERE namespace = ? AND name = ? RETURNING 1", space, key)
        elif node.kind == CONTAINERS:
            found = _one(db, "DELETE FROM containers WHERE namespace = ? AND id = ? RETURNING 1", space, key)
        elif node.kind == INGESTS:
            found = _one(db, "DELETE FROM ingests WHERE namespace = ? AND ref = ? RETURNING id, expected", space, key)
            if found and found[1]:
                removed.blobs |= {found[1]} if not _wanted(db, found[1]) else set()
            elif found:
                removed.ingests.append(f"{space}/{found[0]}/{key}")
        else:
            found = self._delete_snapshot(db, node, removed)
        if found is not None:
            release(db, space, node.kind, key)
        return found is not None

    @staticmethod
    def _delete_snapshot(db: sqlite3.Connection, node: Node, removed: Removed) -> tuple[str, ...] | None:
        name = node.kind.removeprefix(SNAPSHOTS)
        found = _one(
            db,
            "DELETE FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ? RETURNING name",
            node.namespace,
            name,
            node.key,
        )
        if found is not None:
            removed.snapshots.append((name, found[0]))
        return found

    def discard(self, removed: Removed) -> int:
        freed = 0
        if removed.blobs or removed.ingests:
            freed = self._discard_content(sorted(removed.blobs), removed.ingests)
        by_snapshotter: dict[str, list[str]] = defaultdict(list)
        for snapshotter, name in removed.snapshots:
            by_snapshotter[snapshotter].append(name)
        for snapshotter, names in by_snapshotter.items():
            self._discard_snapshots(snapshotter, names)
        for node in removed.nodes:
            self._publish(node)
        return freed

    def _discard_content(self, digests: Sequence[str], ingests: Sequence[str]) -> int:
        service = self._content()
        swept = Swept(failed=1) if service is None else service.sweeper().discard(digests, ingests)
        return self._checked(_CONTENT_STORE, swept).bytes

    def _discard_snapshots(self, snapshotter: str, names: Sequence[str]) -> None:
        service = self._snapshots()
        if service is None or snapshotter not in service.names():
            self._checked(snapshotter, Swept(failed=1))  # it is searched when it is there
            return
        self._swept.add(snapshotter)
        self._checked(snapshotter, service.sweeper().discard(snapshotter, names))

    def reconcile(self) -> int:
        count = 0
        content, snapshots = self._content(), self._snapshots()
        if content is not None and self._unclean(_CONTENT_STORE):
            count += self._checked(_CONTENT_STORE, content.sweeper().discard_orphans()).count
        if snapshots is not None:
            sweeper = snapshots.sweeper()
            for name in sweeper.names():
                if self._unclean(name):
                    count += self._checked(name, sweeper.discard_orphans(name)).count
                elif name in self._swept:
                    self._checked(name, sweeper.finish(name))
                self._swept.discard(name)
        return count

    def sizes(self, nodes: Sequence[Node]) -> Mapping[Node, int]:
        blobs = [node for node in nodes if node.kind == CONTENT]
        found = self._database.read(lambda db: _blob_sizes(db, blobs))
        content, snapshots = self._content(), self._snapshots()
        for node in nodes:
            scope = Scope(node.namespace)
            with contextlib.suppress(ContainerdError, OSError):  # gone since, or its back end is not up
                if node.kind.startswith(SNAPSHOTS) and snapshots is not None:
                    view = snapshots.scoped(scope, node.kind.removeprefix(SNAPSHOTS))
                    found[node] = view.usage(node.key).size
                elif node.kind == INGESTS and content is not None:
                    found[node] = content.scoped(scope).status(node.key).offset
        return found

    def _unclean(self, where: str) -> bool:
        """Whether ``where`` is to be looked at; it counts as looked at from now on."""
        with self._lock:
            unclean = where not in self._clean
            self._clean.add(where)
        return unclean

    def _checked(self, where: str, swept: Swept) -> Swept:
        if swept.failed:
            with self._lock:
                self._clean.discard(where)
        return swept

    def _publish(self, node: Node) -> None:
        if node.kind == CONTENT:
            self._events.publish(node.namespace, ContentDelete(node.key))
        elif node.kind == IMAGES:
            self._events.publish(node.namespace, ImageDelete(node.key))
        elif node.kind == CONTAINERS:
            self._events.publish(node.namespace, ContainerDelete(node.key))
        elif node.kind.startswith(SNAPSHOTS):
            self._events.publish(node.namespace, SnapshotRemove(node.key, node.kind.removeprefix(SNAPSHOTS)))


def _one(db: sqlite3.Connection, statement: str, *values: str) -> tuple[str, ...] | None:
    # Fetched to the end: SQLite would keep the statement, and with it the transaction, open.
    found = db.execute(statement, values).fetchall()
    return found[0] if found else None


def _wanted(db: sqlite3.Connection, digest: str) -> bool:
    """Whether any namespace has the blob, or an ingest is about to share it."""
    return (
        db.execute(
            "SELECT 1 FROM blobs WHERE digest = ? UNION ALL SELECT 1 FROM ingests WHERE expected = ? AND expected <> ''"
            " LIMIT 1",
            (digest, digest),
        ).fetchone()
        is not None
    )


def _blob_sizes(db: sqlite3.Connection, nodes: Iterable[Node]) -> dict[Node, int]:
    found = {}
    for node in nodes:
        row = db.execute(
            "SELECT size FROM blobs WHERE namespace = ? AND digest = ?", (node.namespace, node.key)
        ).fetchone()
        if row is not None:
            found[node] = int(row[0])
    return found
