"""One run of fsck, on the files of a daemon that does not run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator

import attrs

from pycontainerd.contracts.errors import DataLoss, FailedPrecondition, NotFound
from pycontainerd.metadata.connections import connect_reader
from pycontainerd.metadata.database import SqliteDatabase

from .findings import Finding, scan
from .repair import Journal, repair
from .truths import Site

ROUNDS = 130  # of repairs: what is based on what was removed comes up in the next; a stack has at most 128 layers


@attrs.define
class Outcome:
    """What was found first, how many steps were done, and what is still there at the end."""

    found: list[Finding]
    done: int = 0
    left: list[Finding] = attrs.field(factory=list)


def check(site: Site, *, digests: bool = False) -> Outcome:
    """Look only.

    :raises FailedPrecondition: a daemon runs on these files.
    :raises NotFound: there is no database.
    """
    if not os.path.exists(site.database):
        raise NotFound(f"there is no database {site.database}", hint="name the daemon's --root, or its config with -c")
    with _kept_out(site.database), contextlib.closing(connect_reader(site.database)) as db:
        found = _interrupted(site)
        try:
            found += scan(site, db, digests=digests)
        except sqlite3.DatabaseError as exc:
            reason = (
                f"{exc}; the next start of the daemon, or --repair, replaces it by a copy and what can be read of it"
            )
            found.append(Finding("database-damaged", site.database, reason))
        return Outcome(found, 0, found)


def mend(site: Site, say: Callable[[str], None], *, digests: bool = False) -> Outcome:
    """Look, and repair what can be; a damaged database is replaced first, as the daemon would do it.

    :raises FailedPrecondition: a daemon runs on these files.
    """
    database = SqliteDatabase(site.database, say)
    try:
        pending = Journal(site.journal).pending()
        if pending:
            say(f"a repair was interrupted with {len(pending)} steps left; it is taken up")
        done = repair(site, database, pending, say)
        first = found = _scan(site, database, digests=digests)
        for _ in range(ROUNDS):
            steps = [finding.step for finding in found if finding.step]
            count = repair(site, database, steps, say)
            done += count
            if not count:
                break
            found = _scan(site, database, digests=False)
        return Outcome(first, done, found)
    finally:
        database.close()


def _scan(site: Site, database: SqliteDatabase, *, digests: bool) -> list[Finding]:
    try:
        return database.read(lambda db: scan(site, db, digests=digests))
    except DataLoss as exc:
        raise DataLoss(f"{exc.message}", hint="run it again: the database is replaced when it is opened") from exc


def _interrupted(site: Site) -> list[Finding]:
    pending = Journal(site.journal).pending()
    if not pending:
        return []
    return [
        Finding("repair-interrupted", site.journal, f"a repair has {len(pending)} steps left; --repair takes it up")
    ]


@contextlib.contextmanager
def _kept_out(database: str) -> Iterator[None]:
    """While it lasts no daemon can start on these files; what the lock says of the last one is not touched."""
    try:
        fd = os.open(f"{database}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise FailedPrecondition(
                f"a daemon is running on {os.path.dirname(database)}",
                hint="stop it first (containers go on running): what is compared must not change meanwhile",
            ) from exc
        yield
    finally:
        os.close(fd)
