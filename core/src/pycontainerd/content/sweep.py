"""What a collection does to the content store: delete bytes that no record names any more."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol

from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError, NotFound
from pycontainerd.contracts.gc import Swept
from pycontainerd.contracts.locks import KeyedLocks

log = logging.getLogger("containerd.content")

PAGE = 32  # blobs whose locks are held at a time
_ABSENT, _FAILED = -1, -2


class _Service(Protocol):
    store: ContentStore
    database: Database
    locks: KeyedLocks


class Sweeper:
    """`contracts.gc.ContentSweeper`."""

    def __init__(self, service: _Service) -> None:
        self._service = service

    def discard(self, digests: Iterable[str], ingests: Iterable[str]) -> Swept:
        count, freed, failed = 0, 0, 0
        pending = iter(sorted(digests))
        while page := list(islice(pending, PAGE)):
            done = self._delete(page)
            count, freed, failed = count + done.count, freed + done.bytes, failed + done.failed
        for ref in ingests:
            try:
                self._service.store.abort(ref)
                count += 1
            except NotFound:
                continue  # it never had bytes
            except (ContainerdError, OSError) as exc:
                _warn("a collected ingest is not deleted yet", ref=ref, error=str(exc))
                failed += 1
        return Swept(count, freed, failed)

    def discard_orphans(self) -> Swept:
        # What is at the back end is listed first: a record that comes later is then no reason to delete.
        try:
            blobs = [info.digest for info in self._service.store.walk()]
            refs = [status.ref for status in self._service.store.statuses()]
        except (ContainerdError, OSError) as exc:  # one that does not answer is looked at when it does
            _warn("the content store does not say what it has", error=str(exc))
            return Swept(0, 0, 1)
        named, ingests = self._service.database.read(_named)
        return self.discard((one for one in blobs if one not in named), (ref for ref in refs if ref not in ingests))

    def _delete(self, digests: Sequence[str]) -> Swept:
        """Delete the blobs, but for those that somebody wants by now."""
        with contextlib.ExitStack() as locks:
            # They keep a namespace from taking a blob for its own between the look and the deletion. Whoever else holds
            # one holds no second, so nobody waits in a circle.
            for digest in digests:
                locks.enter_context(self._service.locks.hold(digest))
            kept = self._service.database.read(lambda db: {one for one in digests if wanted(db, one)})
            done = [self._delete_one(digest) for digest in digests if digest not in kept]
        return Swept(sum(size >= 0 for size in done), sum(max(size, 0) for size in done), done.count(_FAILED))

    def _delete_one(self, digest: str) -> int:
        """The size of the blob that was deleted, or one of the marks below."""
        try:
            size = self._service.store.info(digest).size
            self._service.store.delete(digest)
        except NotFound:
            return _ABSENT
        except (ContainerdError, OSError) as exc:
            _warn("a collected blob is not deleted yet", digest=digest, error=str(exc))
            return _FAILED
        return size


def wanted(db: sqlite3.Connection, digest: str) -> bool:
    """Whether a namespace has the blob, or is about to have it because another had."""
    found = db.execute(
        "SELECT 1 FROM blobs WHERE digest = ?1 UNION ALL SELECT 1 FROM ingests WHERE expected = ?1 AND expected <> ''"
        " LIMIT 1",
        (digest,),
    )
    return found.fetchone() is not None


def _named(db: sqlite3.Connection) -> tuple[set[str], set[str]]:
    """The digests and the back end's ingests that records name."""
    digests = {row[0] for row in db.execute("SELECT digest FROM blobs UNION SELECT expected FROM ingests")}
    refs = {f"{space}/{number}/{ref}" for space, number, ref in db.execute("SELECT namespace, id, ref FROM ingests")}
    return digests, refs


def _warn(message: str, **fields: str) -> None:
    log.warning(message, extra={"fields": fields})
