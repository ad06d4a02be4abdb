"""Namespaced content: one back end, and in each namespace only what belongs to it.

A blob is in a namespace when it has a row there. Bytes are shared; labels are not. A namespace that wants a blob
another one has gets it without the bytes being sent again only once it proves it can name the digest.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pycontainerd.contracts import digests, rows
from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts.content import ContentInfo, ContentReader, ContentStore, ContentWriter, IngestStatus
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pycontainerd.contracts.events import ContentCreate, ContentDelete, EventBus
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.tables import ensure_namespace, hold
from pycontainerd.contracts.types import Scope, now

from .fields import info_field, status_field
from .scoped_writer import ScopedWriter, SharedWriter

_PAGE = 500


class Content:
    """`contracts.content.ContentService` over a back end and the metadata database."""

    def __init__(self, store: ContentStore, database: Database, events: EventBus) -> None:
        self.store = store
        self.database = database
        self.events = events

    def scoped(self, scope: Scope) -> ContentStore:
        return ScopedContent(self, scope)


class ScopedContent:
    """The content of one namespace; see `contracts.content.ContentStore`."""

    def __init__(self, service: Content, scope: Scope) -> None:
        self._service = service
        self._store = service.store
        self._database = service.database
        self._scope = scope
        self._namespace = scope.namespace

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
        def change(db: sqlite3.Connection) -> None:
            row = db.execute(
                "SELECT labels FROM blobs WHERE namespace = ? AND digest = ?", (self._namespace, digest)
            ).fetchone()
            if row is None:
                raise NotFound(f"content digest {digest}: not found")
            merged = label_rules.update(rows.unpack_map(row[0]), labels, fieldpaths)
            db.execute(
                "UPDATE blobs SET labels = ?, updated = ? WHERE namespace = ? AND digest = ?",
                (rows.pack_map(merged), rows.pack_time(now()), self._namespace, digest),
            )

        self._database.write(change)
        return self.info(digest)

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
            return db.execute("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", (digest,)).fetchone() is None

        if self._database.write(remove):
            with contextlib.suppress(NotFound):
                self._store.delete(digest)
        self._service.events.publish(self._namespace, ContentDelete(digest))

    def open(self, digest: str) -> ContentReader:
        self.info(digest)
        return self._store.open(digest)

    def writer(self, ref: str, *, total: int = 0, expected: str = "") -> ContentWriter:
        if not ref:
            raise InvalidArgument("an ingest needs a ref")
        if expected:
            digests.validate(expected)
            with contextlib.suppress(NotFound):
                self.info(expected)
                self._hold(expected)
                raise AlreadyExists(f"content {expected}: already exists")
            with contextlib.suppress(NotFound):
                return SharedWriter(self, ref, self._store.info(expected))
        inner = self._store.writer(self._backend_ref(ref, expected), total=total, expected=expected)
        return ScopedWriter(self, ref, inner)

    def status(self, ref: str) -> IngestStatus:
        return _renamed(self._store.status(self._known_ref(ref)), ref)

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
        backend_ref = self._known_ref(ref)
        try:
            self._store.abort(backend_ref)
        except NotFound:
            self.forget(ref)
            raise NotFound(f"ingest ref {ref}: not found") from None
        self.forget(ref)

    def forget(self, ref: str) -> None:
        """Drop the row of an ingest that has ended."""
        self._database.write(
            lambda db: db.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (self._namespace, ref))
        )

    def record(self, ref: str, info: ContentInfo, labels: Mapping[str, str]) -> ContentInfo:
        """Make a blob that the back end has part of this namespace; ends the ingest ``ref``.

        :raises AlreadyExists: it was part of it already.
        """
        moment = rows.pack_time(now())
        packed = rows.pack_map(label_rules.validate(labels))

        def add(db: sqlite3.Connection) -> bool:
            ensure_namespace(db, self._namespace)
            db.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (self._namespace, ref))
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

    def _hold(self, digest: str) -> None:
        if self._scope.lease:
            self._database.write(lambda db: hold(db, self._scope, "content", digest))

    def _known_ref(self, ref: str) -> str:
        row = self._database.read(
            lambda db: db.execute(
                "SELECT id FROM ingests WHERE namespace = ? AND ref = ?", (self._namespace, ref)
            ).fetchone()
        )
        if row is None:
            raise NotFound(f"ingest ref {ref}: not found")
        return f"{self._namespace}/{row[0]}/{ref}"

    def _backend_ref(self, ref: str, expected: str) -> str:
        """The ref the back end knows, unique over namespaces; made durable before there is anything to find by it."""

        def add(db: sqlite3.Connection) -> int:
            ensure_namespace(db, self._namespace)
            hold(db, self._scope, "ingests", ref)
            row = db.execute(
                "SELECT id FROM ingests WHERE namespace = ? AND ref = ?", (self._namespace, ref)
            ).fetchone()
            if row is not None:
                return int(row[0])
            (number,) = db.execute(
                "INSERT INTO sequences VALUES ('ingest', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
                " RETURNING value"
            ).fetchone()
            db.execute("INSERT INTO ingests VALUES (?,?,?,?)", (self._namespace, ref, number, expected))
            return int(number)

        return f"{self._namespace}/{self._database.write(add)}/{ref}"


def _info(row: tuple[str, int, int, int, str]) -> ContentInfo:
    digest, size, created, updated, labels = row
    return ContentInfo(digest, size, rows.unpack_time(created), rows.unpack_time(updated), rows.unpack_map(labels))


def _renamed(status: IngestStatus, ref: str) -> IngestStatus:
    return IngestStatus(ref, status.offset, status.total, status.expected, status.started_at, status.updated_at)
