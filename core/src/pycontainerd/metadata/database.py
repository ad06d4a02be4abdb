"""SQLite behind the `contracts.database.Database` Protocol.

One thread owns the writing connection. Writers queue a function and wait; the thread runs what is queued, each under a
savepoint of its own, and makes one durable commit for all of them: under load an fsync is shared. Nobody is told
anything, good or bad, before that commit, for a bad answer may rest on what a neighbour wrote.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import attrs

from pycontainerd.contracts.errors import ContainerdError, Internal, Unavailable

from .damage import explain
from .recovery import connect, open_checked

T = TypeVar("T")
BATCH = 128  # functions that may share one commit
READERS = 16  # idle read connections kept for reuse


@attrs.define(eq=False)
class _Work:
    function: Callable[[sqlite3.Connection], Any]
    future: Future[Any]
    result: Any = None
    error: BaseException | None = None


class SqliteDatabase:
    """The database in the file ``path``; see `contracts.database.Database`.

    ``say`` is told, in sentences, of damage that was found and what was done about it. Without ``sync`` a commit is
    not waited for until it is on disk: faster, and a power cut loses the latest ones. ``isolated`` is for the content
    service: namespaces share no blobs by naming them.

    :raises FailedPrecondition: another process has it open, or a newer release wrote it.
    """

    def __init__(self, path: str, say: Callable[[str], None], *, sync: bool = True, isolated: bool = False) -> None:
        self.isolated = isolated
        self._path = path
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._writer, self._claim = open_checked(path, say, sync=sync)
        self._thread = threading.Thread(target=self._run, name="metadata-writer", daemon=True)
        self._thread.start()

    def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._take()
        try:
            connection.execute("BEGIN")
            return fn(connection)
        except sqlite3.DatabaseError as exc:
            raise explain(exc, self._path) from exc
        finally:
            self._give(connection)

    def write(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        if threading.current_thread() is self._thread:
            raise Internal("a function that writes to the metadata database asked for another write within its own")
        work = _Work(fn, Future())
        with self._lock:
            if self._closed:
                raise self._gone()
            self._queue.put(work)
        result: T = work.future.result()
        return result

    def close(self) -> None:
        """Finish what is queued, then close cleanly (the next start needs no integrity check)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
            readers, self._readers = self._readers, []
        self._thread.join()
        for connection in readers:
            connection.close()
        self._writer.close()
        self._claim.release()

    def _gone(self) -> ContainerdError:
        return Unavailable(f"the metadata database {self._path} is closed: the daemon is stopping")

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise self._gone()
            if self._readers:
                return self._readers.pop()
        try:
            return connect(self._path, writable=False)
        except sqlite3.DatabaseError as exc:
            raise explain(exc, self._path) from exc

    def _give(self, connection: sqlite3.Connection) -> None:
        """Put ``connection`` back where it may be used again; one that cannot end its transaction is of no more use."""
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
            with self._lock:
                if not self._closed and len(self._readers) < READERS:
                    self._readers.append(connection)
                    return
        connection.close()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._batch()
            if batch:
                self._commit(batch)

    def _batch(self) -> tuple[list[_Work], bool]:
        """What is queued by now, at least one; and whether `close` asked for the end."""
        batch: list[_Work] = []
        while len(batch) < BATCH and (not batch or not self._queue.empty()):
            work = self._queue.get()
            if work is None:
                return batch, True
            batch.append(work)
        return batch, False

    def _commit(self, batch: list[_Work]) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for work in batch:
                self._step(work)
            self._writer.execute("COMMIT")
        except BaseException as exc:
            with contextlib.suppress(sqlite3.Error):
                self._writer.rollback()
            for work in batch:
                work.future.set_exception(explain(exc, self._path))
            return
        for work in batch:
            if work.error is not None:
                work.future.set_exception(work.error)
            else:
                work.future.set_result(work.result)

    def _step(self, work: _Work) -> None:
        """Run one function; what it raises is its caller's, and undoes its own changes only.

        SQLite ends the whole transaction by itself on some errors (disk full, I/O). Then nothing of the batch is left,
        and this raises.
        """
        self._writer.execute("SAVEPOINT work")
        try:
            work.result = work.function(self._writer)
            self._writer.execute("RELEASE work")
        except BaseException as exc:
            if not self._writer.in_transaction:
                raise
            self._writer.execute("ROLLBACK TO work")
            self._writer.execute("RELEASE work")
            work.error = explain(exc, self._path) if isinstance(exc, sqlite3.DatabaseError) else exc
