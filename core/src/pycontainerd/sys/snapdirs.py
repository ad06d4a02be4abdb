"""The directories of a snapshotter, ``<folder>/<number>``, each with a record (`contracts.snapshots`).

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
from collections.abc import Callable, Iterator, Mapping

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.snapshots import Kind, SnapshotRecords

from .mount import remove_tree

log = logging.getLogger("containerd.snapshots")

_MAKING, _REMOVING = "new.", "rm."
_ANY = frozenset(Kind)
_ASIDE = re.compile(r"(?:new|rm)\.(\d+)\Z")


class SnapshotDirs:
    """Makes, finds and removes them. Thread-safe. Removed trees are deleted by a thread, or with ``sync`` at once.

    ``kinds`` is for snapshotters whose snapshots change their folder when they change their kind: in this folder only
    those are whole, and what has a record of another kind is a leftover. ``delete`` deletes a tree.
    """

    def __init__(
        self,
        folder: str,
        records: SnapshotRecords,
        *,
        sync: bool = False,
        kinds: frozenset[Kind] = _ANY,
        delete: Callable[[str], None] = remove_tree,
    ) -> None:
        self._base = folder
        self._records = records
        self._sync = sync
        self._kinds = kinds
        self._remove_tree = delete
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
    def make(self, number: int, mode: int | None) -> Iterator[str]:
        """A new directory for the body to fill, and then to store the record; after that it takes its place.

        With no ``mode`` the body makes it, at the path it is given.
        """
        aside = self._aside(_MAKING, number)
        with self._working_on(number):
            if mode is not None:
                os.mkdir(aside, mode)
            try:
                if mode is not None:
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
                    self._remove_tree(leftover)
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
        """Give back their names to directories that have a record; returns what is to be deleted.

        The order matters: what is listed here and not busy after has been finished, so its record tells the truth.
        """
        names = os.listdir(self._base)
        found = {name: int(match[1]) for name in names if (match := _ASIDE.match(name))}
        plain = [name for name in names if name.isdecimal()] if self._kinds != _ANY else []
        if not found and not plain:
            return []
        with self._lock:
            busy = set(self._busy)
        own, moved, recorded = self._owners()
        leftovers = [name for name in plain if int(name) in moved and int(name) not in busy]
        for name, number in found.items():
            if number in busy:
                continue
            if number in own:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(os.path.join(self._base, name), self.path(number))
            elif number in moved or number not in recorded:
                leftovers.append(name)
        return [os.path.join(self._base, name) for name in leftovers]

    def _owners(self) -> tuple[set[int], set[int], Mapping[int, str]]:
        """The snapshots that belong here, those that have moved on to another folder, and all.

        One that is renamed in this moment is in neither: the next recovery sees it.
        """
        recorded = self._records.ids()
        if self._kinds == _ANY:
            return set(recorded), set(), recorded
        kinds = {info.name: info.kind for info in self._records.walk(())}
        known = {number: kinds[key] for number, key in recorded.items() if key in kinds}
        own = {number for number, kind in known.items() if kind in self._kinds}
        return own, known.keys() - own, recorded

    def _delete(self, path: str) -> None:
        """Delete a tree that nobody can see any more; a failure is for the log, and for the next cleanup."""
        try:
            with self._deleting:
                self._remove_tree(path)
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
