"""SQLite behind the `contracts.database.Database` Protocol.

There is one writing connection. Writers queue a function; one of them runs what is queued (`turns`), each under a
savepoint of its own, and makes one durable commit for all of them: under load an fsync is shared. Nobody is told
anything, good or bad, before that commit, for a bad answer may rest on what a neighbour wrote.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from pycontainerd.contracts.errors import DISK_FULL, ContainerdError, ResourceExhausted, Unavailable

from .ballast import Ballast
from .connections import connect
from .damage import explain, is_damage, primary_code
from .keeper import INTERVAL, Keeper
from .recovery import open_checked, seal
from .turns import Turns, Work

T = TypeVar("T")
BATCH = 128  # functions that may share one commit
READERS = 16  # idle read connections kept for reuse


class SqliteDatabase:
    """The database in the file ``path``; see `contracts.database.Database`.

    ``say`` is told, in sentences, of damage that was found and what was done about it (`damage` has it too). Without
    ``sync`` a commit is not waited for until it is on disk: faster, and a power cut loses the latest ones. ``isolated``
    is for the content service: namespaces share no blobs by naming them. ``ballast`` are bytes of disk space to keep in
    reserve, ``copies`` seconds between the copies that are kept of it (0: none).

    :raises FailedPrecondition: another process has it open, or a newer release wrote it.
    """

    def __init__(
        self,
        path: str,
        say: Callable[[str], None],
        *,
        sync: bool = True,
        isolated: bool = False,
        ballast: int = 0,
        copies: float = 0,
    ) -> None:
        self.isolated = isolated
        self.commits = 0
        self._turns = Turns(self._commit, BATCH)
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._say = say
        self._ballast = Ballast(f"{path}.ballast", ballast)
        if self._ballast.relieve():
            say(f"the disk of {path} is full: the space kept in reserve is given back, for the start and for removals")
        self._opened = open_checked(path, say, sync=sync)
        self._path = self._opened.path
        self.damage = self._opened.report
        self._writer, self._claim = self._opened.connection, self._opened.claim
        self._keeper: Keeper | None = None
        if (copies or ballast) and not self._opened.scratch:
            self._keeper = Keeper(
                path,
                self._ballast,
                changes=lambda: self.commits,
                say=say,
                damaged=self._saw_damage,
                interval=copies or INTERVAL,
                copies=copies > 0,
            )

    def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._take()
        try:
            connection.execute("BEGIN")
            return fn(connection)
        except sqlite3.DatabaseError as exc:
            raise self._explained(exc) from exc
        finally:
            self._give(connection)

    def write(self, fn: Callable[[sqlite3.Connection], T], *, frees: bool = False) -> T:
        work = Work(fn, frees)
        if not self._turns.take(work):
            raise self._gone()
        try:
            if work.error is not None:
                raise work.error
            result: T = work.result
            return result
        finally:
            del work  # an error holds on to its frames

    def close(self) -> None:
        """Finish what is queued, then close cleanly (the next start needs no integrity check)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            readers, self._readers = self._readers, []
        self._turns.close()
        copy = self._keeper.close() if self._keeper is not None else ""
        for connection in readers:
            connection.close()
        self._writer.close()
        self._claim.release("" if self._opened.scratch else seal(self._path), copy)
        if self._opened.scratch:
            shutil.rmtree(self._opened.scratch, ignore_errors=True)

    def _saw_damage(self, sentence: str) -> None:
        """Note it for the next start, which looks whatever the end was."""
        if not self._claim.damaged:
            self._say(f"{sentence}; the next start of the daemon replaces it")
            self._claim.saw_damage()

    def _explained(self, exc: BaseException) -> BaseException:
        if is_damage(exc):
            self._saw_damage(f"the metadata database {self._path} is damaged: {exc}")
        return explain(exc, self._path)

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
            raise self._explained(exc) from exc

    def _give(self, connection: sqlite3.Connection) -> None:
        """Put ``connection`` back where it may be used again; one that cannot end its transaction is of no more use."""
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
            with self._lock:
                if not self._closed and len(self._readers) < READERS:
                    self._readers.append(connection)
                    return
        connection.close()

    def _commit(self, batch: list[Work]) -> None:
        """Run the batch and answer it. On a full disk the reserve is given back, for those of it that free space."""
        if self._ballast.full():
            batch = self._refuse(batch)
        error = self._attempt(batch)
        if error is not None and primary_code(error) == sqlite3.SQLITE_FULL and self._ballast.release():
            self._say("the disk is full: until there is room, only removals are done, with what was kept in reserve")
            batch = self._refuse(batch)
            error = self._attempt(batch)
        if error is not None:
            explained = self._explained(error)
            for work in batch:
                work.error = explained

    def _refuse(self, batch: list[Work]) -> list[Work]:
        """Answer those of the batch that need space; returns the others."""
        for work in batch:
            if not work.frees:
                message = f"the metadata database {self._path} takes no new records: no space left on its disk"
                work.error = ResourceExhausted(message, hint=DISK_FULL)
        return [work for work in batch if work.frees]

    def _attempt(self, batch: list[Work]) -> BaseException | None:
        """Run the batch in one durable commit; the error where nothing of it was done."""
        if not batch:
            return None
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for work in batch:
                self._step(work, alone=len(batch) == 1)
            self._writer.execute("COMMIT")
        except BaseException as exc:
            with contextlib.suppress(sqlite3.Error):
                self._writer.rollback()
            return exc
        self.commits += 1
        return None

    def _step(self, work: Work, *, alone: bool) -> None:
        """Run one function; what it raises is its caller's, and undoes its own changes only.

        One that is ``alone`` in the transaction needs no savepoint for that.

        SQLite ends the whole transaction by itself on some errors (disk full, I/O). Then nothing of the batch is left,
        and this raises.
        """
        if not alone:
            self._writer.execute("SAVEPOINT work")
        work.error = None
        try:
            work.result = work.function(self._writer)
            if not alone:
                self._writer.execute("RELEASE work")
        except BaseException as exc:
            if not self._writer.in_transaction or (primary_code(exc) == sqlite3.SQLITE_FULL and self._ballast.held):
                raise
            for statement in ("ROLLBACK", "BEGIN IMMEDIATE") if alone else ("ROLLBACK TO work", "RELEASE work"):
                self._writer.execute(statement)
            work.error = self._explained(exc) if isinstance(exc, sqlite3.DatabaseError) else exc
