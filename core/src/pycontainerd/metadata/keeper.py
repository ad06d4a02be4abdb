"""The housekeeping of a database in use: its copies and its ballast, in a thread of its own."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable

from pycontainerd.contracts.errors import DataLoss

from .ballast import Ballast
from .copies import Copies

TICK = 5.0  # seconds between looks at the disk
INTERVAL = 600.0  # seconds between copies of a database that changes
_AT_END = 16 << 20  # bytes; a bigger database is not copied while the daemon is being stopped
_MARGIN = 64 << 20  # bytes that must be free beside a copy


class Keeper:
    """Keeps ``ballast`` in place, and with ``copies`` copies of ``path``: one in every ``interval`` seconds in which
    ``changes()`` has changed.

    ``damaged`` is called with a sentence when a copy turns out to be damaged, and with it the database.
    """

    def __init__(
        self,
        path: str,
        ballast: Ballast,
        *,
        changes: Callable[[], int],
        say: Callable[[str], None],
        damaged: Callable[[str], None],
        interval: float = INTERVAL,
        copies: bool = True,
    ) -> None:
        self._path = path
        self._copies = Copies(path)
        self._ballast = ballast
        self._changes = changes
        self._say = say
        self._damaged = damaged
        self._interval = interval
        self._copying = copies
        self._copied = changes() if self._copies.list() else -1
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metadata-keeper", daemon=True)
        self._thread.start()

    def close(self) -> str:
        """Stop, and leave a copy of a database that has changed, where that does not take long.

        Gives the name of the copy that has all that the database has, "" where there is none.
        """
        self._end.set()
        self._thread.join()
        if self._changes() != self._copied and os.path.getsize(self._path) <= _AT_END:
            self._copy(hurry=True)
        copies = self._copies.list()
        return os.path.basename(copies[0]) if copies and self._changes() == self._copied else ""

    def _run(self) -> None:
        self._reserve()
        waited = 0.0
        while not self._end.wait(TICK):
            self._reserve()
            waited += TICK
            if waited >= self._interval and self._changes() != self._copied:
                waited = 0.0
                self._copy()

    def _reserve(self) -> None:
        """Take the ballast where there is room."""
        full = self._ballast.full()
        if self._ballast.take() and full:
            self._say("the disk has room again")

    def _copy(self, *, hurry: bool = False) -> None:
        changes = self._changes()
        try:
            if not self._copying or not self._room():
                return
            self._copies.take(hurry=hurry)
        except DataLoss as exc:
            self._damaged(f"a copy of the metadata database does not pass its check, so it is damaged itself: {exc}")
        except (sqlite3.Error, OSError) as exc:
            self._say(f"no copy of the metadata database {self._path} was made: {exc}")
        else:
            self._copied = changes

    def _room(self) -> bool:
        status = os.statvfs(os.path.dirname(self._path) or ".")
        return status.f_frsize * status.f_bavail > 2 * os.path.getsize(self._path) + _MARGIN
