"""One snapshotter as one namespace sees it.

A back end is never called inside a transaction. Creation acts and then stores the row: what a crash leaves is a back-end
snapshot that no row names, garbage that a collection finds. A commit is planned, done at the back end, and finished; the
plan tells after a crash what was going on.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

import attrs

from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts import rows
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from pycontainerd.contracts.events import EventBus, SnapshotCommit, SnapshotPrepare, SnapshotRemove
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.locks import KeyedLocks
from pycontainerd.contracts.numbers import Numbers
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, Snapshotter, Usage
from pycontainerd.contracts.tables import ensure_namespace, hold
from pycontainerd.contracts.types import EMPTY, Mount, Scope, now
from pycontainerd.sys.snapbase import RecordedSnapshotter

from . import joint
from .records import snapshot_field
from .syncs import Syncs
from .table import Plan, Row, Table

log = logging.getLogger("containerd.snapshots")

INHERITED = "containerd.io/snapshot/"
TARGET = "containerd.io/snapshot.ref"
_PAGE = 500

Make = Callable[[str, str, Mapping[str, str]], Sequence[Mount]]


class _Service(Protocol):
    database: Database
    events: EventBus
    numbers: Numbers
    pending: set[str]
    locks: KeyedLocks
    syncs: Syncs


class ScopedSnapshotter:
    """See `contracts.snapshots.Snapshotter`."""

    def __init__(self, service: _Service, scope: Scope, name: str, backend: Snapshotter) -> None:
        self._service = service
        self._database = service.database
        self._scope = scope
        self._name = name
        self._backend = backend
        self._table = Table(scope.namespace, name)

    def stat(self, key: str) -> SnapshotInfo:
        row = self._row(key)
        return _merged(row, self._backend.stat(row.name))

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        def change(db: sqlite3.Connection) -> tuple[str, dict[str, str]]:
            row = self._table.get(db, key)
            merged = label_rules.update(rows.unpack_map(row.labels), labels, fieldpaths)
            self._table.relabel(db, key, merged)
            return row.name, merged

        name, merged = self._database.write(change)
        self._backend.update(name, _inherited(merged))
        return self.stat(key)

    def usage(self, key: str) -> Usage:
        return self._backend.usage(self._row(key).name)

    def mounts(self, key: str) -> Sequence[Mount]:
        return self._backend.mounts(self._row(key).name)

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        mounts = self._create(self._backend.prepare, key, parent, labels)
        self._service.events.publish(self._scope.namespace, SnapshotPrepare(key, parent, self._name))
        return mounts

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        return self._create(self._backend.view, key, parent, labels)

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        if not name:
            raise InvalidArgument(f"cannot commit snapshot {quote(key)}: the committed snapshot needs a name")
        packed = rows.pack_map(label_rules.validate(labels))
        backend_name = self._backend_name(name)

        def begin(db: sqlite3.Connection) -> tuple[Plan, str, str]:
            active = self._table.get(db, key)
            if parent and active.parent not in ("", parent):
                raise InvalidArgument(f"snapshot {quote(key)} is based on {quote(active.parent)}, not {quote(parent)}")
            above = self._table.get(db, parent, "parent snapshot").name if parent and not active.parent else ""
            plan = Plan(name, key, backend_name, active.parent or parent, packed)
            self._table.plan(db, plan)
            hold(db, self._scope, self._table.lease_type, name)
            return plan, active.name, above

        plan, active, above = self._database.write(begin)
        with joint.riding(lambda db: self._table.finish(db, plan)) as rider:
            try:
                self._backend.commit(plan.name, active, _inherited(labels), **({"parent": above} if above else {}))
            except (DeadlineExceeded, Unavailable):
                if not self._is_there(plan.name):  # else it was done, and only the answer is lost
                    self._database.write(lambda db: self._abandon(db, plan))
                    raise
            except BaseException:
                if not rider.done:
                    self._database.write(lambda db: self._abandon(db, plan))
                raise
        if not rider.done:
            self._database.write(lambda db: self._table.finish(db, plan))
        self._service.syncs.committed(self._name)
        self._service.events.publish(self._scope.namespace, SnapshotCommit(key, name, self._name))

    def remove(self, key: str) -> None:
        if isinstance(self._backend, RecordedSnapshotter):
            self._remove_at_once(key)
        else:
            self._remove_in_steps(key)
        self._service.events.publish(self._scope.namespace, SnapshotRemove(key, self._name))

    def _remove_at_once(self, key: str) -> None:
        row = self._database.read(lambda db: self._table.removable(db, key))
        with joint.riding(lambda db: self._table.delete(db, key)) as rider, contextlib.suppress(NotFound):
            self._backend.remove(row.name)
        if not rider.done:  # the back end had no record of it: that went in a crash
            self._database.write(lambda db: self._table.delete(db, key), frees=True)

    def _remove_in_steps(self, key: str) -> None:
        row = self._database.write(lambda db: self._table.delete(db, key), frees=True)
        try:
            with contextlib.suppress(NotFound):  # it went in a crash between the two steps
                self._backend.remove(row.name)
        except BaseException:
            self._database.write(lambda db: self._table.insert(db, row), frees=True)
            raise

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        wanted = parse(filters)
        last = ""
        while page := self._page(last):
            for row in page:
                try:
                    info = _merged(row, self._backend.stat(row.name))
                except NotFound:
                    continue  # removed since
                if wanted.match(partial(snapshot_field, info)):
                    yield info
            last = page[-1].key

    def cleanup(self) -> None:
        self._backend.cleanup()

    def close(self) -> None:
        """The back end is not this view's to close."""

    def _create(self, make: Make, key: str, parent: str, labels: Mapping[str, str]) -> Sequence[Mount]:
        if not key:
            raise InvalidArgument("a snapshot needs a key")
        packed = rows.pack_map(label_rules.validate(labels))
        target = labels.get(TARGET, "")
        above = self._plan_create(key, parent, target)
        name = self._backend_name(key)
        self._service.pending.add(name)  # until it has a record, no collection shall take it for an orphan
        try:
            return self._make(make, Row(key, name, parent, packed, 0, 0), above, labels)
        finally:
            self._service.pending.discard(name)

    def _make(self, make: Make, row: Row, above: str, labels: Mapping[str, str]) -> Sequence[Mount]:
        name, target = row.name, labels.get(TARGET, "")
        moment = rows.pack_time(now())
        row = attrs.evolve(row, created=moment, updated=moment)
        rider: joint.Rider | None = None
        try:
            with joint.riding(lambda db: self._insert(db, row, above)) as rider:
                mounts = make(name, above, _inherited(labels))
        except AlreadyExists as exc:
            if rider is not None and rider.refused is exc:
                raise
            if not target:
                raise Internal(f"the back end refused the new name {quote(name)}: {exc}") from exc
            self._adopt(target, row.parent, above, labels)
            raise AlreadyExists(f"target snapshot {quote(target)} from snapshotter: already exists") from exc
        except InvalidArgument as exc:
            if above and self._backend.stat(above).kind is not Kind.COMMITTED:  # say it with the caller's name
                raise InvalidArgument(
                    f"parent {quote(row.parent)} is not a committed snapshot", hint="commit it"
                ) from exc
            raise
        except BaseException:
            if rider is not None and rider.done:  # it failed after its record was made: it is none
                self._database.write(lambda db: self._table.drop_made(db, row), frees=True)
            raise
        try:
            if not rider.done:
                self._store(row, above)
        except BaseException:
            self._take_back(name)
            raise
        return mounts

    def _plan_create(self, key: str, parent: str, target: str) -> str:
        """What the back end calls the parent. What is there already is held by the lease: the caller is going to use it."""

        def look(db: sqlite3.Connection) -> tuple[str, str]:
            for taken in (target, key):
                if taken and self._table.find(db, taken) is not None:
                    return taken, ""
            return "", self._table.get(db, parent, "parent snapshot").name if parent else ""

        taken, above = self._database.read(look)
        if taken:
            self._database.write(lambda db: hold(db, self._scope, self._table.lease_type, taken))
            what = "target snapshot" if taken == target else "snapshot"
            raise AlreadyExists(f"{what} {quote(taken)}: already exists")
        return above

    def _store(self, row: Row, above: str) -> None:
        self._database.write(lambda db: self._insert(db, row, above))

    def _insert(self, db: sqlite3.Connection, row: Row, above: str) -> None:
        ensure_namespace(db, self._scope.namespace)
        if row.parent and self._table.get(db, row.parent, "parent snapshot").name != above:
            raise NotFound(f"parent snapshot {quote(row.parent)} was replaced while {quote(row.key)} was made on it")
        self._table.insert(db, row)
        hold(db, self._scope, self._table.lease_type, row.key)

    def _adopt(self, target: str, parent: str, above: str, labels: Mapping[str, str]) -> None:
        """Take ``target``, which the back end says it has, as a snapshot of this namespace."""
        for info in self._backend.walk([f"labels.{quote(TARGET)}=={quote(target)},parent=={quote(above)}"]):
            if info.kind is Kind.COMMITTED and info.labels.get(TARGET) == target and info.parent == above:
                packed = rows.pack_map({**info.labels, **labels})
                times = (rows.pack_time(info.created_at), rows.pack_time(info.updated_at))
                with self._service.locks.hold(info.name), contextlib.suppress(AlreadyExists):
                    self._backend.stat(info.name)  # a collection may have taken it since
                    self._store(Row(target, info.name, parent, packed, *times), above)
                return
        raise NotFound(f"the back end says it has target snapshot {quote(target)}, but does not list it")

    def _take_back(self, name: str) -> None:
        try:
            self._backend.remove(name)
        except ContainerdError as exc:
            fields = {"snapshotter": self._name, "key": name, "error": str(exc)}
            log.warning("a snapshot that could not be recorded is left for collection", extra={"fields": fields})

    def _is_there(self, name: str) -> bool:
        try:
            self._backend.stat(name)
        except ContainerdError:
            return False
        return True

    def _abandon(self, db: sqlite3.Connection, plan: Plan) -> None:
        self._table.drop_plan(db, plan)
        db.execute(
            "DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND type = ? AND id = ?",
            (self._scope.namespace, self._scope.lease, self._table.lease_type, plan.target),
        )

    def _backend_name(self, key: str) -> str:
        """A name at the back end that was never used before."""
        return f"{self._scope.namespace}/{self._service.numbers.next()}/{key}"

    def _row(self, key: str) -> Row:
        return self._database.read(lambda db: self._table.get(db, key))

    def _page(self, after: str) -> list[Row]:
        return self._database.read(lambda db: self._table.page(db, after, _PAGE))


def _merged(row: Row, inner: SnapshotInfo) -> SnapshotInfo:
    """The back end knows the kind and its own labels; everything else is the namespace's."""
    return attrs.evolve(
        inner,
        name=row.key,
        parent=row.parent,
        labels={**inner.labels, **rows.unpack_map(row.labels)},
        created_at=rows.unpack_time(row.created),
        updated_at=rows.unpack_time(row.updated),
    )


def _inherited(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that a back end gets to see."""
    return {key: value for key, value in labels.items() if key.startswith(INHERITED) or key == TARGET}
