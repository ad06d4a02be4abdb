"""Opening the database so that a damaged file never keeps the daemon from starting.

What is damaged is moved aside, whole; a new database is made of the newest sound copy and of what can be read in the
damaged one, and takes the place only when it is complete. A crash on the way is no harm: the next start finds a
quarantine without a report, and begins again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable

import attrs

from pycontainerd import __version__
from pycontainerd.contracts.errors import DataLoss
from pycontainerd.sys.fs import fsync_dir

from . import wal
from .claim import Claim
from .connections import connect, connect_reader
from .copies import Copies
from .damage import is_damage
from .report import SUFFIX, Report, restored
from .salvage import nonsense, salvage
from .schema import check_tables, migrate, versions

CHECK_ALWAYS = 64 << 20  # bytes; a bigger database is checked only when the machine, not just the daemon, went down
SEALED = 32 << 20  # bytes; that much is read at the end and at the start, to see whether it has changed meanwhile
SKIP = 1_000_000  # numbers that are passed over after a loss: a lost record may have used them
_MARK = ".damaged-"

Say = Callable[[str], None]


@attrs.frozen
class Opened:
    """A database that is open.

    ``path`` is where readers find it, ``report`` what was lost when it was opened. ``scratch`` is a directory to remove
    at the end: that of the copy of a database that cannot be written.
    """

    path: str
    connection: sqlite3.Connection
    claim: Claim
    report: Report | None
    scratch: str = ""


def open_checked(path: str, say: Say, *, sync: bool = True) -> Opened:
    """Open ``path``, migrated; after an unclean end it is checked first, and a damaged one is replaced.

    :raises FailedPrecondition: another process has it open, or a newer release wrote it.
    """
    claim = Claim(f"{path}.lock")
    try:
        if claim.read_only or (os.path.isfile(path) and not os.access(path, os.W_OK)):
            return _open_read_only(path, claim, say)
        connection, report = _open_or_replace(path, claim, say, sync=sync)
        claim.opened()
    except BaseException:
        claim.abandon()
        raise
    return Opened(path, connection, claim, report)


def _open_read_only(path: str, claim: Claim, say: Say) -> Opened:
    """What cannot be written is read from a copy elsewhere: SQLite itself wants to write beside a database it reads."""
    directory = tempfile.mkdtemp(prefix="containerd-metadata-")
    try:
        aside = os.path.join(directory, os.path.basename(path))
        for source in (path, f"{path}-wal", *Copies(path).list()):
            if os.path.isfile(source):
                shutil.copyfile(source, aside + source.removeprefix(path))
        connection, report = _open_or_replace(aside, claim, say, sync=False)
        connection.execute("PRAGMA query_only=ON")
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    say(f"the metadata database {path} cannot be written; this daemon answers what it can read, and refuses changes")
    return Opened(aside, connection, claim, report, directory)


def _open_or_replace(path: str, claim: Claim, say: Say, *, sync: bool) -> tuple[sqlite3.Connection, Report | None]:
    reason, aside = _amiss(path, claim)
    if not reason:
        fresh = not os.path.exists(path)
        try:
            connection, missing = _open(path, say, claim, sync=sync)
        except (sqlite3.DatabaseError, DataLoss) as exc:
            if isinstance(exc, sqlite3.DatabaseError) and not is_damage(exc):
                raise  # the disk is full, or a migration does not work: the file itself may be well
            reason = str(exc)
        else:
            if fresh:
                fsync_dir(os.path.dirname(path) or ".")
            if unreported := _unreported(path):
                return connection, _untold(path, unreported[-1], say)
            return connection, _incomplete(path, missing, connection, say) if missing else None
    aside = aside or _quarantine(path)
    report = _replace(path, reason, aside, exact=claim.copy)
    say(f"the metadata database {path} is damaged ({reason}); it is kept as {aside}; {'; '.join(report.sentences)}")
    connection, _ = _open(path, say, None, sync=sync)
    # Last: as long as there is no report, the next start knows that this one was interrupted.
    report.path = aside + SUFFIX
    report.save()
    return connection, report


def _amiss(path: str, claim: Claim) -> tuple[str, str]:
    """Why the file cannot be what it was, without opening it; and its quarantine, where it has been moved there already."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        unfinished = _unreported(path)
        if unfinished:
            _move(path, unfinished[-1])
            return "an earlier start was interrupted while it replaced the database", unfinished[-1]
        if claim.was_open or Copies(path).list():
            return "the file is gone", ""
        _unlink(path)  # a log without its database would be replayed into the new one
        return "", ""
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
        return "it is not a file", ""
    if status.st_size == 0 and claim.known:
        return "the file is empty", ""
    if claim.seal and _rotten(path, claim):
        return "its bytes have changed although nobody has written to it", ""
    return "", ""


def _open(path: str, say: Say, claim: Claim | None, *, sync: bool) -> tuple[sqlite3.Connection, str]:
    """The connection, and what its log has lost.

    :raises DataLoss: the file is damaged.
    """
    unclean = claim is not None and claim.unclean
    check = claim is not None and (
        claim.damaged or _changed(path, claim) or (unclean and (not claim.same_boot or _size(path) <= CHECK_ALWAYS))
    )
    log = wal.inspect(path) if unclean else wal.Log(present=False)
    missing = ""
    connection = _sound(path, check=check, sync=sync)
    try:
        if claim is not None and claim.was_open and not log.present:
            missing = "its write-ahead log is gone: commits since the last checkpoint are lost"
        elif log.present:
            missing = wal.lost(log, connection)
        migrate(connection, say, __version__)
    except BaseException:
        connection.close()
        raise
    return connection, missing


def seal(path: str) -> str:
    """What an orderly end says of the file: its digest, and what of its inode changes with every write."""
    if _size(path) > SEALED or _size(f"{path}-wal"):
        return ""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()} {status.st_mtime_ns} {status.st_ino}"


def _changed(path: str, claim: Claim) -> bool:
    """True where the file is not what it was when it was closed in order."""
    return bool(claim.seal) and seal(path) not in ("", claim.seal)


def _rotten(path: str, claim: Claim) -> bool:
    """True where it has other bytes although nobody has written to it: what a failing disk does."""
    was, now = claim.seal.split(), seal(path).split()
    return len(was) == len(now) == 3 and was[0] != now[0] and was[1:] == now[1:]


def _unreported(path: str) -> list[str]:
    """The quarantined databases that no report tells of: what came of them was interrupted."""
    return [aside for aside in _asides(path) if not os.path.lexists(aside + SUFFIX)]


def _sound(path: str, *, check: bool, sync: bool) -> sqlite3.Connection:
    """A connection to a file that looks as it must; with ``check`` every page of it was looked at.

    The look is one that cannot write: what is damaged stays as it was found, and its log is not folded into it.
    """
    try:
        if os.path.exists(path):
            with contextlib.closing(connect_reader(path)) as reader:
                if check:
                    verdict = [row[0] for row in reader.execute("PRAGMA integrity_check(3)")]
                    if verdict != ["ok"]:
                        raise DataLoss("; ".join(map(str, verdict))[:500])
                check_tables(reader, versions(reader)[0])
                if check and (reason := nonsense(reader)):
                    raise DataLoss(reason)
        return connect(path, sync=sync)
    except UnicodeDecodeError as exc:  # of a name, or of SQLite's message that has it
        raise DataLoss(str(exc)) from exc
    except sqlite3.DatabaseError as exc:
        if is_damage(exc, path):
            raise DataLoss(str(exc)) from exc
        raise


def _incomplete(path: str, missing: str, connection: sqlite3.Connection, say: Say) -> Report:
    """The report on a database that is sound in itself, but not the latest."""
    say(f"the metadata database {path} is sound, but {missing}")
    _skip_numbers(connection)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    report = Report(database=path, reason=missing, aside="", path=f"{path}.lost-{stamp}{SUFFIX}")
    report.save()
    return report


def _untold(path: str, aside: str, say: Say) -> Report:
    """The report of a start that was interrupted when it had replaced the database, and before it had said so."""
    reason = "it was damaged, and the start that replaced it was interrupted before it could say what was lost"
    say(f"the metadata database {path} was replaced: {reason}; the old one is kept as {aside}")
    report = Report(database=path, reason=reason, aside=aside, path=aside + SUFFIX)
    report.save()
    return report


def _replace(path: str, reason: str, aside: str, exact: str = "") -> Report:
    """Make the new database from the newest copy and what is left of the old one, and put it in place.

    ``exact`` is the copy that has all that the last daemon had, if there is one; then nothing else is looked for.
    """
    part = f"{path}.rebuilt"
    _unlink(part)
    copy = Copies(path).best()
    if copy:
        shutil.copyfile(copy, part)
    connection = connect(part)
    complete = bool(copy) and os.path.basename(copy) == exact
    try:
        migrate(connection, release=__version__)
        tables = {} if complete else salvage(aside, connection)
        _skip_numbers(connection)
        connection.execute("PRAGMA journal_mode=DELETE")
    finally:
        connection.close()
    fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(part, path)
    fsync_dir(os.path.dirname(path) or ".")
    return Report(database=path, reason=reason, aside=aside, sentences=list(restored(copy, tables, complete=complete)))


def _skip_numbers(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE sequences SET value = value + ?", (SKIP,))


def _quarantine(path: str) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 0
    while os.path.lexists(aside := f"{path}{_MARK}{stamp}" + (f"-{number}" if number else "")):
        number += 1
    _move(path, aside)
    return aside


def _move(path: str, aside: str) -> None:
    """The database first: a start that is interrupted after that finds the quarantine, and moves the rest too."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, aside + suffix)
    fsync_dir(os.path.dirname(path) or ".")


def _asides(path: str) -> list[str]:
    """The quarantined databases, the latest last."""
    directory, name = os.path.split(path)
    found = [entry for entry in os.listdir(directory or ".") if entry.startswith(name + _MARK)]
    found = [entry for entry in found if not entry.endswith((SUFFIX, "-wal", "-shm"))]
    return [os.path.join(directory, entry) for entry in sorted(found)]


def _unlink(path: str) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
