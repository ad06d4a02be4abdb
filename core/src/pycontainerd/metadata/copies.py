"""Verified copies of the database beside it, ``<database>.copy-<time>``: what a damaged one is restored from."""

from __future__ import annotations

import calendar
import contextlib
import os
import sqlite3
import time

from pycontainerd.contracts.errors import DataLoss
from pycontainerd.sys.fs import fsync_dir

from .connections import connect_reader
from .damage import is_damage
from .schema import check_tables, versions

KEEP = 3
_PAGES = 256  # pages a step copies before it lets others have the disk
_PAUSE = 0.005  # seconds between steps


class Copies:
    """The copies of the database ``path``, at most ``keep``. All of it blocks; none of it belongs on the event loop."""

    def __init__(self, path: str, keep: int = KEEP) -> None:
        self._path = path
        self._keep = keep
        self._directory = os.path.dirname(path) or "."
        self._prefix = f"{os.path.basename(path)}.copy-"

    def list(self) -> list[str]:
        """Paths of the copies, the newest first."""
        names = [name for name in os.listdir(self._directory) if name.startswith(self._prefix)]
        return [os.path.join(self._directory, name) for name in sorted(names, reverse=True) if "." not in _tail(name)]

    def take(self, *, hurry: bool = False) -> str:
        """Copy the database while it is in use, check the copy, and drop the oldest; returns its path.

        A copy has the pages of the original, so checking the one checks the other. ``hurry``: make no pauses.

        :raises DataLoss: the copy, and so the database, is damaged; the older copies stay.
        :raises sqlite3.Error, OSError: there is no room, or the disk fails.
        """
        self._sweep()
        target = self._vacant()
        part = f"{target}.part"
        try:
            try:
                self._copy(part, hurry=hurry)
            except sqlite3.DatabaseError as exc:
                raise (DataLoss(f"{self._path}: {exc}") if is_damage(exc) else exc) from exc
            verify(part)
            fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(part, target)
        except BaseException:
            _remove(part)
            raise
        fsync_dir(self._directory)
        for old in self.list()[self._keep :]:
            _remove(old)
        return target

    def best(self) -> str:
        """The newest copy that is sound; empty when there is none."""
        for path in self.list():
            try:
                verify(path)
            except (DataLoss, sqlite3.Error, OSError):
                continue
            return path
        return ""

    def _copy(self, part: str, *, hurry: bool) -> None:
        with (
            contextlib.closing(connect_reader(self._path)) as source,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            # One read transaction around all steps: without it every write meanwhile would start the copy anew.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            copy.execute("PRAGMA synchronous=OFF")  # one fsync at the end does
            source.backup(copy, pages=-1 if hurry else _PAGES, sleep=_PAUSE)
            source.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, that opens anywhere

    def _vacant(self) -> str:
        """A name that sorts after those of all others."""
        stamp = time.time_ns() // 1000
        newest = self.list()[:1]
        if newest:
            stamp = max(stamp, _stamp(newest[0]) + 1)
        seconds, micros = divmod(stamp, 1_000_000)
        text = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        return os.path.join(self._directory, f"{self._prefix}{text}-{micros:06}")

    def _sweep(self) -> None:
        """Remove what an interrupted copy left."""
        for name in os.listdir(self._directory):
            if name.startswith(self._prefix) and "." in _tail(name):
                _remove(os.path.join(self._directory, name))


def verify(path: str) -> None:
    """Check the database ``path``, which nobody is using.

    :raises DataLoss: it is damaged.
    """
    if os.path.getsize(path) == 0:
        raise DataLoss(f"{path} is empty")
    try:
        with contextlib.closing(connect_reader(path)) as connection:
            verdict = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            if verdict != ["ok"]:
                raise DataLoss(f"{path}: {'; '.join(map(str, verdict))[:500]}")
            check_tables(connection, versions(connection)[0])
    except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
        raise DataLoss(f"{path}: {exc}") from exc


def _stamp(path: str) -> int:
    """Microseconds since the epoch in a copy's name; 0 where it has none."""
    try:
        when, _, micros = _tail(path).partition("-")
        return calendar.timegm(time.strptime(when, "%Y%m%dT%H%M%S")) * 1_000_000 + int(micros)
    except ValueError:
        return 0


def taken_at(path: str) -> float:
    """When the copy ``path`` was taken, in seconds since the epoch."""
    return _stamp(path) / 1_000_000


def _tail(name: str) -> str:
    return name.rpartition(".copy-")[2]


def _remove(path: str) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)
