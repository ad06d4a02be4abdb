"""The directories of a snapshotter, ``<root>/snapshots/<number>``, each with a record (`contracts.snapshots`).

A directory with a plain number is whole and has its record. One that is being made or removed has a prefix, so a crash
leaves nothing that looks like a snapshot and is none: what has a prefix and a record gets its plain name back, what has
a prefix and no record is deleted. What has neither is not ours (another daemon's root, say) and is left alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Iterator

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.snapshots import SnapshotRecords

from .mount import remove_tree

log = logging.getLogger("containerd.snapshots")

_MAKING, _REMOVING = "new.", "rm."
_ASIDE = re.compile(r"(?:new|rm)\.(\d+)\Z")


class SnapshotDirs:
    """Makes, finds and removes them. Thread-safe. Removed trees are deleted by a thread, or with ``sync`` at once."""

    def __init__(self, root: str, records: SnapshotRecords, *, sync: bool = False) -> None:
        self._base = os.path.join(root, "snapshots")
        self._records = records
        self._sync = sync
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._doomed: deque[str] = deque()
        self._deleter: threading.Thread | None = None
        self._deleting = threading.Lock()  # one tree at a time: two deletions of one would trip over each other
        self._closed = False
        os.makedirs(self._base, mode=0o700, exist_ok=True)
        records.start_above(max((int(name) for name in os.listdir(self._base) if name.isdecimal()), default=0))
        for leftover in self._recover():
            self._delete_later(leftover)

    def path(self, number: int) -> str:
        """Where the snapshot ``number`` is."""
        return os.path.join(self._base, str(number))

    @contextlib.contextmanager
    def make(self, number: int, mode: int) -> Iterator[str]:
        """A new directory for the body to fill, and then to store the record; after that it takes its place."""
        aside = self._aside(_MAKING, number)
        with self._working_on(number):
            os.mkdir(aside, mode)
            try:
                os.chmod(aside, mode)  # whatever the umask
                yield aside
                os.rename(aside, self.path(number))
            except BaseException:
                self._delete(aside)
                raise

    @contextlib.contextmanager
    def remove(self, number: int) -> Iterator[None]:
        """Take the directory away while the body removes the record; should the body fail, it is put back."""
        path, aside = self.path(number), self._aside(_REMOVING, number)
        with self._working_on(number):
            with contextlib.suppress(FileNotFoundError):  # its absence is no reason to keep the record
                os.rename(path, aside)
            try:
                yield
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(aside, path)
                raise
        if self._sync:
            self._delete(aside)
        else:
            self._delete_later(aside)

    def cleanup(self) -> None:
        """Delete what removals and crashes left behind, now.

        :raises ContainerdError: something cannot be deleted; what could be is gone all the same.
        """
        failure: ContainerdError | None = None
        for leftover in self._recover():
            try:
                with self._deleting:
                    remove_tree(leftover)
            except ContainerdError as exc:
                failure = exc
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Begin no further deletion; the next start, or a cleanup, finishes them."""
        self._closed = True

    def _aside(self, prefix: str, number: int) -> str:
        return os.path.join(self._base, f"{prefix}{number}")

    @contextlib.contextmanager
    def _working_on(self, number: int) -> Iterator[None]:
        with self._lock:
            self._busy.add(number)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(number)

    def _recover(self) -> list[str]:
        """Give back their names to directories that have a record; returns the others that were set aside.

        The order matters: what is listed here and not busy after has been finished, so its record tells the truth.
        """
        found = {name: int(match[1]) for name in os.listdir(self._base) if (match := _ASIDE.match(name))}
        if not found:
            return []
        with self._lock:
            busy = set(self._busy)
        recorded = self._records.ids()
        leftovers = []
        for name, number in found.items():
            path = os.path.join(self._base, name)
            if number in busy:
                continue
            if number in recorded:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(path, self.path(number))
            else:
                leftovers.append(path)
        return leftovers

    def _delete(self, path: str) -> None:
        """Delete a tree that nobody can see any more; a failure is for the log, and for the next cleanup."""
        try:
            with self._deleting:
                remove_tree(path)
        except ContainerdError as exc:
            log.warning("a removed snapshot is not deleted yet", extra={"fields": {"path": path, "error": str(exc)}})

    def _delete_later(self, path: str) -> None:
        with self._lock:
            self._doomed.append(path)
            if self._deleter is None:
                self._deleter = threading.Thread(target=self._delete_doomed, name="snapshot-deleter", daemon=True)
                self._deleter.start()

    def _delete_doomed(self) -> None:
        """The deleter thread; it ends when there is nothing left to do, so an idle daemon has none."""
        while True:
            with self._lock:
                if not self._doomed or self._closed:
                    self._deleter = None
                    return
                path = self._doomed.popleft()
            self._delete(path)
