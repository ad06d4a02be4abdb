"""Namespaced snapshotters: names and labels are the namespace's, the file systems the back end's.

A back end is never called inside a transaction. Creation reserves the name, acts, and confirms; when the act fails the
reservation goes. A crash in between leaves a back-end snapshot that no row names: garbage that a collection finds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts import rows
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pycontainerd.contracts.events import EventBus, SnapshotCommit, SnapshotPrepare, SnapshotRemove
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.snapshots import SnapshotInfo, Snapshotter, Usage
from pycontainerd.contracts.tables import ensure_namespace, hold
from pycontainerd.contracts.types import EMPTY, Mount, Scope, now

from .records import snapshot_field

INHERITED = "containerd.io/snapshot/"
TARGET = "containerd.io/snapshot.ref"
_PAGE = 500


class Snapshots:
    """`contracts.snapshots.SnapshotService`; ``why(name)`` says why a snapshotter is not there."""

    def __init__(
        self,
        backends: Mapping[str, Snapshotter],
        default: str,
        database: Database,
        events: EventBus,
        why: Callable[[str], str],
    ) -> None:
        self.backends = backends
        self.default = default
        self.database = database
        self.events = events
        self._why = why
        self._removed: list[Callable[[str], None]] = []

    def scoped(self, scope: Scope, snapshotter: str) -> Snapshotter:
        name = snapshotter or self.default
        backend = self.backends.get(name)
        if backend is None:
            raise NotFound(f"snapshotter not loaded: {name}: {self._why(name)}")
        return ScopedSnapshotter(self, scope, name, backend)

    def names(self) -> Sequence[str]:
        return sorted(self.backends, key=lambda name: (name != self.default, name))

    def on_removed(self, callback: Callable[[str], None]) -> None:
        self._removed.append(callback)

    def removed(self, snapshotter: str) -> None:
        """Tell who asked that something was removed."""
        for callback in self._removed:
            callback(snapshotter)


class ScopedSnapshotter:
    """One snapshotter as one namespace sees it; see `contracts.snapshots.Snapshotter`."""

    def __init__(self, service: Snapshots, scope: Scope, name: str, backend: Snapshotter) -> None:
        self._service = service
        self._database = service.database
        self._scope = scope
        self._name = name
        self._backend = backend
        self._where = (scope.namespace, name)

    def stat(self, key: str) -> SnapshotInfo:
        row = self._row(key)
        return self._merged(row, self._backend.stat(row[1]))

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        def change(db: sqlite3.Connection) -> dict[str, str]:
            row = self._select(db, key)
            merged = label_rules.update(rows.unpack_map(row[3]), labels, fieldpaths)
            db.execute(
                "UPDATE snapshots SET labels = ?, updated = ? WHERE namespace = ? AND snapshotter = ? AND key = ?",
                (rows.pack_map(merged), rows.pack_time(now()), *self._where, key),
            )
            return merged

        merged = self._database.write(change)
        self._backend.update(self._row(key)[1], _inherited(merged))
        return self.stat(key)

    def usage(self, key: str) -> Usage:
        return self._backend.usage(self._row(key)[1])

    def mounts(self, key: str) -> Sequence[Mount]:
        return self._backend.mounts(self._row(key)[1])

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(self._backend.prepare, key, parent, labels)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(self._backend.view, key, parent, labels)

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        if not name:
            raise InvalidArgument("a committed snapshot needs a name")
        active = self._row(key)
        above = self._row(parent)[1] if parent else ""
        backend_name = self._reserve(name, parent or active[2], label_rules.validate(labels))
        try:
            self._backend.commit(backend_name, active[1], _inherited(labels), **({"parent": above} if above else {}))
        except BaseException:
            self._forget(name)
            raise

        self._forget(key)
        self._service.events.publish(self._scope.namespace, SnapshotCommit(key, name, self._name))

    def remove(self, key: str) -> None:
        def delete(db: sqlite3.Connection) -> tuple[Any, ...]:
            row = self._select(db, key)
            children = db.execute(
                "SELECT key FROM snapshots WHERE namespace = ? AND snapshotter = ? AND parent = ? LIMIT 1",
                (*self._where, key),
            ).fetchone()
            if children:
                raise FailedPrecondition(f"cannot remove snapshot {key}: snapshot {children[0]} is based on it")
            self._delete_row(db, key)
            return row

        row = self._database.write(delete)
        try:
            self._backend.remove(row[1])
        except NotFound:
            pass  # it went in a crash between the two steps
        except BaseException:
            self._database.write(lambda db: self._insert(db, row))
            raise
        self._service.removed(self._name)
        self._service.events.publish(self._scope.namespace, SnapshotRemove(key, self._name))

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        wanted = parse(filters)
        last = ""
        while page := self._page(last):
            for row in page:
                try:
                    info = self._merged(row, self._backend.stat(row[1]))
                except NotFound:
                    continue  # removed since
                if wanted.match(partial(snapshot_field, info)):
                    yield info
            last = page[-1][0]

    def cleanup(self) -> None:
        self._backend.cleanup()

    def close(self) -> None:
        """The back end is not this view's to close."""

    def _create(
        self,
        make: Callable[[str, str, Mapping[str, str]], Sequence[Mount]],
        key: str,
        parent: str,
        labels: Mapping[str, str],
    ) -> Sequence[Mount]:
        if not key:
            raise InvalidArgument("a snapshot needs a key")
        target = labels.get(TARGET, "")
        if target and self._has(target):
            raise AlreadyExists(f"target snapshot {target!r}: already exists")
        above = self._row(parent)[1] if parent else ""
        backend_name = self._reserve(key, parent, label_rules.validate(labels))
        try:
            mounts = make(backend_name, above, _inherited(labels))
        except BaseException:
            self._forget(key)
            raise
        self._service.events.publish(self._scope.namespace, SnapshotPrepare(key, parent, self._name))
        return mounts

    def _reserve(self, key: str, parent: str, labels: Mapping[str, str]) -> str:
        """Take the name ``key`` here and a name at the back end that was never used before."""

        def add(db: sqlite3.Connection) -> str:
            ensure_namespace(db, self._scope.namespace)
            found = db.execute(
                "SELECT 1 FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ?", (*self._where, key)
            ).fetchone()
            if found:
                raise AlreadyExists(f"snapshot {key!r}: already exists")
            (number,) = db.execute(
                "INSERT INTO sequences VALUES ('snapshot', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
                " RETURNING value"
            ).fetchone()
            backend_name = f"{self._scope.namespace}/{number}/{key}"
            moment = rows.pack_time(now())
            self._insert(db, (key, backend_name, parent, rows.pack_map(labels), moment, moment))
            hold(db, self._scope, f"snapshots/{self._name}", key)
            return backend_name

        return self._database.write(add)

    def _has(self, key: str) -> bool:
        try:
            self._row(key)
        except NotFound:
            return False
        return True

    def _row(self, key: str) -> tuple[Any, ...]:
        return self._database.read(lambda db: self._select(db, key))

    def _select(self, db: sqlite3.Connection, key: str) -> tuple[Any, ...]:
        row = db.execute(
            "SELECT key, name, parent, labels, created, updated FROM snapshots"
            " WHERE namespace = ? AND snapshotter = ? AND key = ?",
            (*self._where, key),
        ).fetchone()
        if row is None:
            raise NotFound(f"snapshot {key} does not exist: not found")
        return tuple(row)

    def _insert(self, db: sqlite3.Connection, row: Sequence[Any]) -> None:
        key, name, parent, labels, created, updated = row
        db.execute(
            "INSERT INTO snapshots VALUES (?,?,?,?,?,?,?,?)",
            (*self._where, key, name, parent, labels, created, updated),
        )

    def _forget(self, key: str) -> None:
        self._database.write(lambda db: self._delete_row(db, key))

    def _delete_row(self, db: sqlite3.Connection, key: str) -> None:
        db.execute("DELETE FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ?", (*self._where, key))

    def _page(self, after: str) -> list[tuple[Any, ...]]:
        return self._database.read(
            lambda db: db.execute(
                "SELECT key, name, parent, labels, created, updated FROM snapshots"
                " WHERE namespace = ? AND snapshotter = ? AND key > ? ORDER BY key LIMIT ?",
                (*self._where, after, _PAGE),
            ).fetchall()
        )

    @staticmethod
    def _merged(row: tuple[Any, ...], inner: SnapshotInfo) -> SnapshotInfo:
        """The back end knows the kind and its own labels; everything else is the namespace's."""
        labels = {**inner.labels, **rows.unpack_map(row[3])}
        return attrs.evolve(
            inner,
            name=row[0],
            parent=row[2],
            labels=labels,
            created_at=rows.unpack_time(row[4]),
            updated_at=rows.unpack_time(row[5]),
        )


def _inherited(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that a back end gets to see."""
    return {key: value for key, value in labels.items() if key.startswith(INHERITED) or key == TARGET}
