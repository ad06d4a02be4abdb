"""SQLite behind the `contracts.database.Database` Protocol.

One thread owns the writing connection. Writers queue a function and wait; the thread runs what is queued, each under a
savepoint of its own, and makes one durable commit for all of them: under load an fsync is shared.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import attrs

from pycontainerd.contracts.errors import Internal, Unavailable

from .recovery import connect, open_checked

T = TypeVar("T")
BATCH = 128  # functions that may share one commit
READERS = 16  # read connections kept for reuse


@attrs.frozen
class _Work:
    function: Callable[[sqlite3.Connection], Any]
    future: Future[Any]


class SqliteDatabase:
    """The database in the file ``path``; see `contracts.database.Database`.

    ``say`` is told, in sentences, of damage that was found and what was done about it.
    """

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(READERS)
        self._lock = threading.Lock()
        self._closed = False
        self._writer = open_checked(path, say)
        self._thread = threading.Thread(target=self._run, name="metadata-writer", daemon=True)
        self._thread.start()

    def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        with self._reader() as connection:
            connection.execute("BEGIN")
            try:
                return fn(connection)
            finally:
                connection.execute("ROLLBACK")

    def write(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise Unavailable("the metadata database is closed: the daemon is stopping")
            self._queue.put(_Work(fn, future))
        return future.result()

    def close(self) -> None:
        """Finish what is queued, then close cleanly (the next start needs no integrity check)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        while not self._readers.empty():
            self._readers.get().close()
        self._writer.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._path}.open")

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = connect(self._path)
        try:
            yield connection
        finally:
            try:
                self._readers.put_nowait(connection)
            except queue.Full:
                connection.close()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            batch = [work]
            ended = False
            while len(batch) < BATCH and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    ended = True
                    break
                batch.append(more)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[_Work]) -> None:
        results: list[tuple[_Work, Any]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for work in batch:
                self._step(work, results)
            self._writer.execute("COMMIT")
        except sqlite3.Error as exc:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            error = Internal(f"the metadata database {self._path} did not take a write: {exc}", hint=_hint(exc))
            for work in batch:
                if not work.future.done():
                    work.future.set_exception(error)
            return
        for work, result in results:
            work.future.set_result(result)

    def _step(self, work: _Work, results: list[tuple[_Work, Any]]) -> None:
        """Run one function; what it raises is its caller's, and undoes its own changes only."""
        self._writer.execute("SAVEPOINT work")
        try:
            result = work.function(self._writer)
        except sqlite3.OperationalError:
            raise  # the disk or the file, not the function: the whole batch fails
        except BaseException as exc:
            self._writer.execute("ROLLBACK TO work")
            self._writer.execute("RELEASE work")
            work.future.set_exception(exc)
            return
        self._writer.execute("RELEASE work")
        results.append((work, result))


def _hint(exc: sqlite3.Error) -> str:
    return "free some disk space" if "full" in str(exc) else ""
