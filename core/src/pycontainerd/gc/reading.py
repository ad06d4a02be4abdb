"""The rows of the metadata database as entries."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pycontainerd.contracts import rows
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
from pycontainerd.contracts.types import EMPTY

_PAGE = 250  # rows between two chances for other threads
_MARK = '"containerd.io/gc.'

_BLOBS = "SELECT namespace, digest, labels, created FROM blobs"
_INGESTS = "SELECT namespace, ref, expected, coalesce(expires, 0) FROM ingests"
_IMAGES = "SELECT namespace, name, target, labels, updated FROM images"
_CONTAINERS = "SELECT namespace, id, snapshotter, snapshot_key, labels, created, image FROM containers"
_SANDBOXES = "SELECT namespace, id, labels FROM sandboxes"
_SNAPSHOTS = "SELECT namespace, snapshotter, key, parent, labels, created FROM snapshots"
_COMMITS = "SELECT namespace, snapshotter, target, key, parent FROM snapshot_commits"
_LEASES = "SELECT namespace, id, labels, created FROM leases"


class Reader:
    """Reads entries in one transaction. ``all_labels``: also those that collection does not know."""

    def __init__(self, db: sqlite3.Connection, *, all_labels: bool = False) -> None:
        self._db = db
        self._all = all_labels

    def everything(self) -> Iterator[Entry]:
        for statement, make in (
            (_BLOBS, self._blob),
            (_SNAPSHOTS, self._snapshot),
            (_INGESTS, self._ingest),
            (_IMAGES, self._image),
            (_CONTAINERS, self._container),
            (_SANDBOXES, self._sandbox),
            (_COMMITS, self._commit),
        ):
            cursor = self._db.execute(statement)
            while page := cursor.fetchmany(_PAGE):
                yield from map(make, page)
        yield from self._leases()

    def one(self, node: Node) -> Entry | None:
        """The entry of ``node``, if it exists."""
        if node.kind.startswith(SNAPSHOTS):
            return self._found(_SNAPSHOTS, "snapshotter = ? AND key = ?", node, self._snapshot, SNAPSHOTS)
        if node.kind.startswith(COMMITS):
            return self._found(_COMMITS, "snapshotter = ? AND target = ?", node, self._commit, COMMITS)
        simple = {
            CONTENT: (_BLOBS, "digest = ?", self._blob),
            INGESTS: (_INGESTS, "ref = ?", self._ingest),
            IMAGES: (_IMAGES, "name = ?", self._image),
            CONTAINERS: (_CONTAINERS, "id = ?", self._container),
            SANDBOXES: (_SANDBOXES, "id = ?", self._sandbox),
            LEASES: (_LEASES, "id = ?", self._lease),
        }
        known = simple.get(node.kind)
        return self._found(known[0], known[1], node, known[2]) if known else None

    def _found(self, statement: str, where: str, node: Node, make: Any, prefix: str = "") -> Entry | None:
        key = (node.kind.removeprefix(prefix), node.key) if prefix else (node.key,)
        row = self._db.execute(f"{statement} WHERE namespace = ? AND {where}", (node.namespace, *key)).fetchone()
        found: Entry | None = None if row is None else make(row)
        return found

    def _labels(self, text: str) -> Mapping[str, str]:
        if self._all:
            return rows.unpack_map(text)
        if _MARK not in text:
            return EMPTY
        labels: dict[str, str] = json.loads(text)
        return {key: value for key, value in labels.items() if key.startswith(_MARK[1:])}

    def _blob(self, row: tuple[str, str, str, int]) -> Entry:
        namespace, digest, labels, created = row
        return Entry(Node(CONTENT, namespace, digest), self._labels(labels), (), 0, created)

    def _snapshot(self, row: tuple[str, str, str, str, str, int]) -> Entry:
        namespace, snapshotter, key, parent, labels, created = row
        kind = SNAPSHOTS + snapshotter
        refs = (Node(kind, namespace, parent),) if parent else ()
        return Entry(Node(kind, namespace, key), self._labels(labels), refs, 0, created)

    def _ingest(self, row: tuple[str, str, str, int]) -> Entry:
        namespace, ref, expected, expires = row
        refs = (Node(CONTENT, namespace, expected),) if expected else ()
        return Entry(Node(INGESTS, namespace, ref), EMPTY, refs, expires)

    def _image(self, row: tuple[str, str, str, str, int]) -> Entry:
        namespace, name, target, labels, updated = row
        refs = (Node(CONTENT, namespace, rows.unpack_descriptor(target).digest),)
        return Entry(Node(IMAGES, namespace, name), self._labels(labels), refs, 0, updated)

    def _container(self, row: tuple[str, str, str, str, str, int, str]) -> Entry:
        namespace, id_, snapshotter, key, labels, created, image = row
        refs = (Node(SNAPSHOTS + snapshotter, namespace, key),) if snapshotter else ()
        return Entry(Node(CONTAINERS, namespace, id_), self._labels(labels), refs, 0, created, image)

    def _sandbox(self, row: Sequence[str]) -> Entry:
        namespace, id_, labels = row
        return Entry(Node(SANDBOXES, namespace, id_), self._labels(labels))

    def _commit(self, row: Sequence[str]) -> Entry:
        """A commit under way keeps what it needs, and what it makes."""
        namespace, snapshotter, target, key, parent = row
        kind = SNAPSHOTS + snapshotter
        refs = [Node(kind, namespace, name) for name in (target, key, parent) if name]
        return Entry(Node(COMMITS + snapshotter, namespace, target), EMPTY, refs)

    def _lease(self, row: tuple[str, str, str, int]) -> Entry:
        namespace, id_, labels, created = row
        held = self._db.execute(
            "SELECT type, id FROM lease_resources WHERE namespace = ? AND lease = ?", (namespace, id_)
        )
        refs = [Node(type_, namespace, key) for type_, key in held]
        return Entry(Node(LEASES, namespace, id_), self._labels(labels), refs, 0, created)

    def _leases(self) -> Iterator[Entry]:
        cursor = self._db.execute(_LEASES)
        while page := cursor.fetchmany(_PAGE):
            yield from map(self._lease, page)
