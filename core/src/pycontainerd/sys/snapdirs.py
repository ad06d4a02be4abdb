"""The trees of a snapshotter, directories by number as a rule, each with a record (`contracts.snapshots`).

A tree with a plain number is whole and has its record. One that is being made or removed has a prefix, so a crash
leaves nothing that looks like a snapshot and is none: what has a prefix and a record gets its plain name back, what has
a prefix and no record is deleted. What has neither is not ours (another daemon's root, say) and is left alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.snapshots import Kind, SnapshotRecords

from . import libc
from .fs import syncfs
from .mount import translate
from .tree import remove_at

log = logging.getLogger("containerd.snapshots")

_MAKING, _REMOVING = "new.", "rm."
_ANY = frozenset(Kind)
_PAUSE, _IDLE = 0.02, 50  # seconds from a removal to the deletion; how often in a row it finds nothing to do
_ASIDE = re.compile(r"(?:new|rm)\.(\d+)\Z")


class Trees(Protocol):
    """Where the trees of snapshots are, by name. Thread-safe."""

    def names(self) -> Iterable[str]:
        """Of all that are there."""
        ...

    def path(self, name: str) -> str: ...

    def rename(self, old: str, new: str) -> bool:
        """False when ``old`` is not there."""
        ...

    def delete(self, name: str) -> None:
        """Delete a tree; fine when it is not there.

        :raises ContainerdError: it cannot be deleted (now).
        """
        ...


def delete_tree(path: str) -> None:
    """Delete the tree at ``path``, but nothing that is mounted below it; fine when it is not there.

    Unlike `mount.remove_tree` it does not look at all mounts of the machine first, which is most of the work for a small tree.
    """
    try:
        remove_at(libc.AT_FDCWD, path)
    except OSError as exc:
        raise translate(exc, f"remove {path}") from exc


class Folder:
    """Trees as directories of ``path``; ``delete`` deletes one by its path."""

    def __init__(self, path: str, delete: Callable[[str], None] = delete_tree) -> None:
        self._path = path
        self._remove = delete
        os.makedirs(path, mode=0o700, exist_ok=True)

    def names(self) -> Iterable[str]:
        return os.listdir(self._path)

    def path(self, name: str) -> str:
        return os.path.join(self._path, name)

    def rename(self, old: str, new: str) -> bool:
        try:
            os.rename(self.path(old), self.path(new))
        except FileNotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        self._remove(self.path(name))


def make_directory(path: str, mode: int) -> None:
    """A new directory with ``mode``, whatever the umask."""
    os.mkdir(path, mode)
    os.chmod(path, mode)


def numbered(names: Iterable[str]) -> Iterator[tuple[int, str, bool]]:
    """Of ``names`` those of trees: the number, the name, and whether it was set aside."""
    for name in names:
        if name.isdecimal():
            yield int(name), name, False
        elif match := _ASIDE.match(name):
            yield int(match[1]), name, True


class SnapshotDirs:
    """Makes, finds and removes them. Thread-safe. Removed trees are deleted by a thread, or with ``sync`` at once.

    ``kinds`` is for snapshotters whose snapshots change their folder when they change their kind: here only those are
    whole, and what has a record of another kind is a leftover.
    """

    def __init__(
        self, trees: Trees, records: SnapshotRecords, *, sync: bool = False, kinds: frozenset[Kind] = _ANY
    ) -> None:
        self._trees = trees
        self._records = records
        self._sync = sync
        self._kinds = kinds
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._doomed: deque[str] = deque()
        self._deleter: threading.Thread | None = None
        self._deleting = threading.Lock()  # one tree at a time: two deletions of one would trip over each other
        self._closed = False
        self._returned: list[int] = []  # trees that were being made when the last daemon ended
        names = list(trees.names())
        records.start_above(max((int(name) for name in names if name.isdecimal()), default=0))
        for leftover in self._recover(names):
            self._delete_later(leftover)

    def path(self, number: int) -> str:
        """Where the snapshot ``number`` is."""
        return self._trees.path(str(number))

    @contextlib.contextmanager
    def make(self, number: int) -> Iterator[str]:
        """The path at which the body makes a tree, and then stores the record; after that it takes its place."""
        aside = f"{_MAKING}{number}"
        with self._working_on(number):
            try:
                yield self._trees.path(aside)
                self._trees.rename(aside, str(number))
            except BaseException:
                self._delete(aside)
                raise

    @contextlib.contextmanager
    def remove(self, number: int) -> Iterator[None]:
        """Take the tree away while the body removes the record; should the body fail, it is put back."""
        name, aside = str(number), f"{_REMOVING}{number}"
        with self._working_on(number):
            # Its absence is no reason to keep the record.
            was_there = self._trees.rename(name, aside)
            try:
                yield
            except BaseException:
                self._trees.rename(aside, name)
                raise
        if not was_there:
            return
        if self._sync:
            self._delete(aside)
        else:
            self._delete_later(aside)

    def missing(self) -> list[tuple[int, str]]:
        """Snapshots that belong here and have no tree, whatever it is called, as number and key, parents first."""
        there = {number for number, _, _ in numbered(self._trees.names())}
        own, _, recorded = self._owners()
        return [(number, recorded[number]) for number in sorted(own - there)]

    def returned(self) -> list[tuple[int, str]]:
        """Snapshots whose trees were being made when a crash came: after a power cut they may be there in parts."""
        recorded = self._records.ids()
        return [(number, recorded[number]) for number in sorted(self._returned) if number in recorded]

    def discard(self, number: int) -> None:
        """Delete the tree of a snapshot that stays, to make it anew.

        :raises ContainerdError: it cannot be deleted.
        """
        self._trees.delete(str(number))

    def cleanup(self) -> None:
        """Delete what removals and crashes left behind, now.

        :raises ContainerdError: something cannot be deleted; what could be is gone all the same.
        """
        failure: ContainerdError | None = None
        for leftover in self._recover(list(self._trees.names())):
            try:
                with self._deleting:
                    self._trees.delete(leftover)
            except ContainerdError as exc:
                failure = exc
        if failure is not None:
            raise failure

    def sync(self) -> None:
        """Return once everything that was written to the trees is on disk."""
        fd = os.open(self._trees.path("."), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Begin no further deletion; the next start, or a cleanup, finishes them."""
        self._closed = True

    @contextlib.contextmanager
    def _working_on(self, number: int) -> Iterator[None]:
        with self._lock:
            self._busy.add(number)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(number)

    def _recover(self, names: Sequence[str]) -> list[str]:
        """Give back their names to trees that have a record; returns which of ``names`` are to be deleted.

        The order matters: what is listed here and not busy after has been finished, so its record tells the truth.
        """
        found = {name: number for number, name, aside in numbered(names) if aside}
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
                self._trees.rename(name, str(number))
                self._returned.append(number)
            elif number in moved or number not in recorded:
                leftovers.append(name)
        # Children have higher numbers than their parents, and where trees hang together they must go first.
        return sorted(leftovers, key=lambda name: -int(name.rpartition(".")[2]))

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

    def _delete(self, name: str) -> None:
        """Delete a tree that nobody can see any more; a failure is for the log, and for the next cleanup."""
        try:
            with self._deleting:
                self._trees.delete(name)
        except ContainerdError as exc:
            fields = {"path": self._trees.path(name), "error": str(exc)}
            log.warning("a removed snapshot is not deleted yet", extra={"fields": fields})

    def _delete_later(self, name: str) -> None:
        with self._lock:
            self._doomed.append(name)
            if self._deleter is None:
                self._start_deleter()

    def _delete_doomed(self) -> None:
        """The deleter thread. It ends when there was nothing to do for a while, so an idle daemon has none.

        It is not woken for each: who removes shall not wait for the start of a thread, nor share the processor with it.
        """
        idle = 0
        while idle < _IDLE and not self._closed:
            idle += 1
            time.sleep(_PAUSE)
            while self._doomed and not self._closed:
                idle = 0
                self._delete(self._doomed.popleft())
        with self._lock:
            self._deleter = None
            if self._doomed and not self._closed:
                self._start_deleter()

    def _start_deleter(self) -> None:
        self._deleter = threading.Thread(target=self._delete_doomed, name="snapshot-deleter", daemon=True)
        self._deleter.start()
