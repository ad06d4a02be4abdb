"""Namespaced content: one back end, and in each namespace only what belongs to it.

A blob is in a namespace when it has a row there. Bytes are shared; labels are not. A namespace that wants a blob
another one has gets it without the bytes being sent again only once it proves it can name the digest.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial

import attrs

from pycontainerd.contracts import digests, rows
from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts.content import ContentInfo, ContentReader, ContentStore, ContentWriter, IngestStatus
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pycontainerd.contracts.events import ContentCreate, ContentDelete, EventBus
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.locks import KeyedLocks
from pycontainerd.contracts.numbers import Numbers
from pycontainerd.contracts.scopes import in_scope
from pycontainerd.contracts.tables import ensure_namespace, hold, release
from pycontainerd.contracts.types import Scope, now

from .fields import info_field, status_field
from .scoped_writer import ScopedWriter, SharedWriter
from .sweep import Sweeper, wanted

MAX_REF = 4096  # bytes
SHAREABLE = "containerd.io/namespace.shareable"
LIFETIME = timedelta(days=1)  # of an ingest that no lease holds, as in the Go containerd
_PAGE = 500


class Content:
    """`contracts.content.ContentService` over a back end and the metadata database.

    ``isolated``: to name a blob of another namespace is not enough to get it, unless that namespace is labelled
    shareable.
    """

    def __init__(self, store: ContentStore, database: Database, events: EventBus, *, isolated: bool = False) -> None:
        self.isolated = isolated
        self.store = store
        self.database = database
        self.events = events
        self.locks = KeyedLocks()
        self.numbers = Numbers(database, "ingest")

    def scoped(self, scope: Scope) -> ContentStore:
        return ScopedContent(self, scope)

    def sweeper(self) -> Sweeper:
        return Sweeper(self)


class ScopedContent:
    """The content of one namespace; see `contracts.content.ContentStore`."""

    def __init__(self, service: Content, scope: Scope) -> None:
        self._service = service
        self._store = in_scope(service.store, scope)
        self._database = service.database
        self._scope = scope
        self._namespace = scope.namespace

    @property
    def scope(self) -> Scope:
        """Whose content it is."""
        return self._scope

    def info(self, digest: str) -> ContentInfo:
        row = self._database.read(
            lambda db: db.execute(
                "SELECT digest, size, created, updated, labels FROM blobs WHERE namespace = ? AND digest = ?",
                (self._namespace, digests.validate(digest)),
            ).fetchone()
        )
        if row is None:
            raise NotFound(f"content digest {digest}: not found")
        return _info(row)

    def update(self, digest: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> ContentInfo:
        def change(db: sqlite3.Connection) -> ContentInfo:
            row = db.execute(
                "SELECT labels, size, created FROM blobs WHERE namespace = ? AND digest = ?", (self._namespace, digest)
            ).fetchone()
            if row is None:
                raise NotFound(f"content digest {digest}: not found")
            merged = label_rules.update(rows.unpack_map(row[0]), labels, fieldpaths)
            packed, moment = rows.pack_map(merged), rows.pack_time(now())
            db.execute(
                "UPDATE blobs SET labels = ?, updated = ? WHERE namespace = ? AND digest = ?",
                (packed, moment, self._namespace, digest),
            )
            return _info((digest, row[1], row[2], moment, packed))

        return self._database.write(change)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[ContentInfo]:
        wanted = parse(filters)
        last = ""
        while page := self._page(last):
            for info in page:
                if wanted.match(partial(info_field, info)):
                    yield info
            last = page[-1].digest

    def _page(self, after: str) -> list[ContentInfo]:
        found = self._database.read(
            lambda db: db.execute(
                "SELECT digest, size, created, updated, labels FROM blobs"
                " WHERE namespace = ? AND digest > ? ORDER BY digest LIMIT ?",
                (self._namespace, after, _PAGE),
            ).fetchall()
        )
        return [_info(row) for row in found]

    def delete(self, digest: str) -> None:
        def remove(db: sqlite3.Connection) -> bool:
            removed = db.execute("DELETE FROM blobs WHERE namespace = ? AND digest = ?", (self._namespace, digest))
            if removed.rowcount == 0:
                raise NotFound(f"content digest {digest}: not found")
            release(db, self._namespace, "content", digest)
            return not wanted(db, digest)

        # The lock keeps another namespace from taking the blob for its own between the last row and the file.
        with self._service.locks.hold(digest):
            if self._database.write(remove, frees=True):
                with contextlib.suppress(NotFound):
                    self._store.delete(digest)
        self._service.events.publish(self._namespace, ContentDelete(digest))

    def open(self, digest: str) -> ContentReader:
        self.info(digest)
        return self._store.open(digest)

    def writer(self, ref: str, *, total: int = 0, expected: str = "") -> ContentWriter:
        if not 0 < len(ref.encode()) <= MAX_REF:
            raise InvalidArgument(f"an ingest ref must have 1 to {MAX_REF} bytes, this has {len(ref.encode())}")
        shared: ContentInfo | None = None
        if expected:
            if self._held(digests.validate(expected)):
                raise AlreadyExists(f"content {expected}: already exists")
            # Under its lock, for a collection deletes the file of a blob that no record and no ingest names.
            with self._service.locks.hold(expected):
                shared = self._shareable(expected, total)
                ingest = self._begin(ref, expected if shared else "")
        else:
            ingest = self._begin(ref, "")
        if shared and ingest.expected:
            return SharedWriter(self, ref, shared, partial(self._own_writer, ref))
        return ScopedWriter(self, ref, self._begun(ingest.backend_ref, total, expected))

    def _begun(self, ref: str, total: int, expected: str) -> ContentWriter:
        """The back end's writer, told what is expected: so it hashes with that algorithm from the start."""
        if expected:
            with contextlib.suppress(AlreadyExists):  # it has the blob, which this namespace may not have for naming it
                return self._store.writer(ref, total=total, expected=expected)
        return self._store.writer(ref, total=total)

    def _shareable(self, digest: str, total: int) -> ContentInfo | None:
        """The blob ``digest``, if this namespace may have it for naming it."""
        if self._service.isolated:
            offered = self._database.read(
                lambda db: db.execute(
                    "SELECT 1 FROM blobs JOIN namespaces ON name = namespace WHERE digest = ?"
                    " AND json_extract(namespaces.labels, ?) = 'true' LIMIT 1",
                    (digest, f'$."{SHAREABLE}"'),
                ).fetchone()
            )
            if offered is None:
                return None
        with contextlib.suppress(NotFound):
            found = self._store.info(digest)
            return found if total in (0, found.size) else None
        return None

    def _own_writer(self, ref: str) -> ContentWriter:
        """A writer of bytes of its own, for one that began as a shared one."""
        return self._store.writer(self._begin(ref, "").backend_ref)

    def status(self, ref: str) -> IngestStatus:
        ingest = self._ingest(ref)
        if ingest.expected:
            info = self._store.info(ingest.expected)
            return IngestStatus(ref, info.size, info.size, ingest.expected, info.created_at, info.created_at)
        return attrs.evolve(self._store.status(ingest.backend_ref), ref=ref)

    def statuses(self, filters: Sequence[str] = ()) -> Iterator[IngestStatus]:
        wanted = parse(filters)
        found = self._database.read(
            lambda db: db.execute(
                "SELECT ref FROM ingests WHERE namespace = ? ORDER BY ref", (self._namespace,)
            ).fetchall()
        )
        for (ref,) in found:
            with contextlib.suppress(NotFound):  # ended since
                status = self.status(ref)
                if wanted.match(partial(status_field, status)):
                    yield status

    def abort(self, ref: str) -> None:
        ingest = self._ingest(ref)
        if not ingest.expected:
            with contextlib.suppress(NotFound):  # the row is what is left of it
                self._store.abort(ingest.backend_ref)
        self._database.write(lambda db: self._forget(db, ref), frees=True)

    def _forget(self, db: sqlite3.Connection, ref: str) -> None:
        db.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (self._namespace, ref))
        release(db, self._namespace, "ingests", ref)

    def exclusive(self, digest: str) -> AbstractContextManager[None]:
        """While it is held, nobody deletes or commits the blob ``digest``."""
        return self._service.locks.hold(digest)

    def record(self, ref: str, info: ContentInfo, labels: Mapping[str, str]) -> ContentInfo:
        """Make a blob that the back end has part of this namespace; ends the ingest ``ref``.

        :raises AlreadyExists: it was part of it already.
        """
        moment = rows.pack_time(now())
        packed = rows.pack_map(label_rules.validate(labels))

        def add(db: sqlite3.Connection) -> bool:
            ensure_namespace(db, self._namespace)
            self._forget(db, ref)
            hold(db, self._scope, "content", info.digest)
            added = db.execute(
                "INSERT OR IGNORE INTO blobs (namespace, digest, size, labels, created, updated) VALUES (?,?,?,?,?,?)",
                (self._namespace, info.digest, info.size, packed, moment, moment),
            )
            return added.rowcount > 0

        if not self._database.write(add):
            raise AlreadyExists(f"content {info.digest}: already exists")
        self._service.events.publish(self._namespace, ContentCreate(info.digest, info.size))
        when = rows.unpack_time(moment)
        return ContentInfo(info.digest, info.size, when, when, dict(labels))

    def backend_info(self, digest: str) -> ContentInfo:
        """What the back end has under ``digest``, whoever may see it."""
        return self._store.info(digest)

    def _held(self, digest: str) -> bool:
        """Whether the namespace has the blob, which the caller's lease then holds: looked and held in one step, for a
        collection may be under way.
        """

        def look(db: sqlite3.Connection) -> bool:
            found = db.execute("SELECT 1 FROM blobs WHERE namespace = ? AND digest = ?", (self._namespace, digest))
            return found.fetchone() is not None

        def take(db: sqlite3.Connection) -> bool:
            there = look(db)
            if there:
                hold(db, self._scope, "content", digest)
            return there

        if not self._scope.lease:
            return self._database.read(look)
        return self._database.read(look) and self._database.write(take)

    def _ingest(self, ref: str) -> _Ingest:
        row = self._database.read(
            lambda db: db.execute(
                "SELECT id, expected FROM ingests WHERE namespace = ? AND ref = ?", (self._namespace, ref)
            ).fetchone()
        )
        if row is None:
            raise NotFound(f"ingest ref {ref}: not found")
        return _Ingest(f"{self._namespace}/{row[0]}/{ref}", row[1])

    def _begin(self, ref: str, shared: str) -> _Ingest:
        """Make the ingest known before there is anything to find by it.

        One with bytes of its own keeps them, so it becomes no shared one. Without a lease it expires.
        """
        number = self._service.numbers.next()
        expires = None if self._scope.lease else rows.pack_time(now() + LIFETIME)

        def add(db: sqlite3.Connection) -> _Ingest:
            ensure_namespace(db, self._namespace)
            hold(db, self._scope, "ingests", ref)
            row = db.execute(
                "INSERT INTO ingests (namespace, ref, id, expected, expires) VALUES (?,?,?,?,?)"
                " ON CONFLICT (namespace, ref) DO UPDATE SET expires = excluded.expires,"
                " expected = CASE WHEN expected = '' THEN '' ELSE excluded.expected END RETURNING id, expected",
                (self._namespace, ref, number, shared, expires),
            ).fetchone()
            return _Ingest(f"{self._namespace}/{row[0]}/{ref}", row[1])

        return self._database.write(add)


@attrs.frozen
class _Ingest:
    """``backend_ref`` is unique over all namespaces; ``expected`` is the digest where it shares a blob."""

    backend_ref: str
    expected: str


def _info(row: tuple[str, int, int, int, str]) -> ContentInfo:
    digest, size, created, updated, labels = row
    return ContentInfo(digest, size, rows.unpack_time(created), rows.unpack_time(updated), rows.unpack_map(labels))
