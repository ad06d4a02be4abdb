"""Snapshotters: layered file systems by key.

The same Protocol is implemented by back ends (``io.containerd.snapshotter.v1``) and by the scoped view that
`SnapshotService` hands out. Model and terms: containerd docs/snapshotters, snapshots.proto.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

import attrs

from .gc import SnapshotSweeper
from .types import EMPTY, Mount, Scope


class Kind(enum.IntEnum):
    """Kinds of snapshot, numbered as in snapshots.proto."""

    UNKNOWN = 0
    VIEW = 1
    ACTIVE = 2
    COMMITTED = 3


@attrs.frozen
class SnapshotInfo:
    """A snapshot's record; ``name`` is its key (active, view) or its committed name."""

    name: str
    kind: Kind
    parent: str
    created_at: datetime
    updated_at: datetime
    labels: Mapping[str, str] = EMPTY


@attrs.frozen
class Usage:
    """What a snapshot itself takes, parents not counted. ``size`` in bytes."""

    size: int
    inodes: int


class Snapshotter(Protocol):
    """Thread-safe and synchronous. ``labels`` that start with ``containerd.io/snapshot`` reach the back end."""

    def stat(self, key: str) -> SnapshotInfo:
        """:raises NotFound: no such snapshot."""
        ...

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        """Replace labels, or with ``fieldpaths`` (``labels``, ``labels.KEY``) only those; an empty value deletes."""
        ...

    def usage(self, key: str) -> Usage: ...

    def mounts(self, key: str) -> Sequence[Mount]:
        """How to mount the active or view snapshot ``key``.

        :raises FailedPrecondition: ``key`` is committed.
        """
        ...

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        """Make an active (writable) snapshot on ``parent``.

        :raises AlreadyExists: the key is taken.
        :raises NotFound: no such parent.
        :raises InvalidArgument: the parent is not committed.
        """
        ...

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        """Make a read-only snapshot on ``parent``; errors as for `prepare`."""
        ...

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        """Turn active ``key`` into committed ``name``; the key is gone after.

        ``parent`` (only for back ends with the ``rebase`` capability) is the parent it gets now.
        """
        ...

    def remove(self, key: str) -> None:
        """:raises FailedPrecondition: it has children."""
        ...

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]: ...

    def cleanup(self) -> None:
        """Delete what removals and crashes left behind."""
        ...

    def close(self) -> None: ...


@attrs.frozen
class Suspect:
    """A committed snapshot that was not known to be on disk when the power went."""

    snapshotter: str
    namespace: str
    key: str


@runtime_checkable
class Syncing(Protocol):
    """What a back end may have besides. Without it all file systems of the machine are synced."""

    def sync(self) -> None:
        """Return once everything that was written to its snapshots is on disk."""
        ...


@runtime_checkable
class BulkRemoving(Protocol):
    """What a back end may have besides, for collections."""

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove them all, children before their parents; or raise as `Snapshotter.remove` does, and none is removed."""
        ...


@attrs.frozen
class Holding:
    """A tree that a snapshotter has on disk, for `containerd fsck`: the number of its record, and where it is.

    A ``leftover`` is what a crash left of one that was being made or removed. ``delete`` is how to delete it where it is
    more than a directory.

    The plugin module of a snapshotter package may have a function ``holdings(root: str) -> Iterable[Holding]`` beside its
    registration. It is called while no daemon runs and changes nothing. It raises a `ContainerdError` where it cannot know, such
    as when a file system is not mounted. Without it, directories by number in ``snapshots``, ``active`` and ``view`` below the
    root are taken for the trees.
    """

    number: int
    path: str
    leftover: bool = False
    delete: Callable[[], None] | None = None


@attrs.frozen
class SnapshotRecord:
    """What a back end gets to know of a snapshot: its number (directory name) and those of its parents, nearest first."""

    id: int
    kind: Kind
    parents: Sequence[int] = ()
    info: SnapshotInfo | None = None


class SnapshotRecords(Protocol):
    """The durable records of one snapshotter, so that back ends keep no database of their own.

    Every call is one transaction. Back ends do their file system work between calls, never within. A snapshot is made
    in three steps, so that a record always has its files, whenever a crash comes: `reserve` a number, make the files
    aside under that number, `create` the record.
    """

    def get(self, key: str) -> SnapshotRecord:
        """:raises NotFound: no such snapshot."""
        ...

    def start_above(self, number: int) -> None:
        """Never hand out ``number`` or less: what a back end found on its disk may not be in these records."""
        ...

    def reserve(self, key: str, parent: str) -> SnapshotRecord:
        """A number no other snapshot ever had, and its parents' numbers, for a snapshot that is about to be made.

        Nothing is stored yet (the record's kind is UNKNOWN). Errors as in `Snapshotter.prepare`.
        """
        ...

    def create(
        self,
        kind: Kind,
        key: str,
        parent: str,
        labels: Mapping[str, str],
        *,
        id: int,  # noqa: A002 - the field's name
    ) -> SnapshotRecord:
        """Store the snapshot with the reserved number ``id``. Errors as in `Snapshotter.prepare`."""
        ...

    def commit(self, key: str, name: str, usage: Usage, labels: Mapping[str, str], parent: str = "") -> None:
        """Make ``key`` the committed ``name``; ``parent`` is for one that was prepared without (rebase).

        :raises FailedPrecondition: ``key`` is not active.
        :raises AlreadyExists: ``name`` is taken.
        :raises InvalidArgument: ``key`` has another parent, or ``parent`` is not committed.
        """
        ...

    def removable(self, key: str) -> SnapshotRecord:
        """The record, if `remove` would delete it now; errors as in `remove`."""
        ...

    def remove(self, key: str) -> SnapshotRecord:
        """:raises FailedPrecondition: it has children."""
        ...

    def removable_many(self, keys: Sequence[str]) -> Sequence[int]:
        """The numbers of ``keys``.

        :raises NotFound: one of them is not there.
        """
        ...

    def remove_many(self, keys: Sequence[str]) -> None:
        """`remove` them in this order, all or none."""
        ...

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str]) -> SnapshotInfo: ...

    def usage(self, key: str) -> Usage:
        """The usage stored at commit."""
        ...

    def walk(self, filters: Sequence[str]) -> Iterator[SnapshotInfo]: ...

    def ids(self) -> Mapping[int, str]:
        """Every number in use, with its key."""
        ...


class SnapshotRecordStore(Protocol):
    """``io.containerd.snapshot-records.v1.sqlite``: hands each back end its own `SnapshotRecords`."""

    def records(self, snapshotter: str) -> SnapshotRecords: ...


class SnapshotService(Protocol):
    """``io.containerd.service.v1.snapshots-service``: namespaced snapshotters."""

    def scoped(self, scope: Scope, snapshotter: str) -> Snapshotter:
        """A view of one snapshotter ("" is the default one).

        :raises InvalidArgument: no such snapshotter, said with the kernel's reason.
        """
        ...

    def names(self) -> Sequence[str]:
        """The snapshotters that are up, the default one first."""
        ...

    def held(self, scope: Scope, snapshotter: str, key: str) -> bool:
        """Whether there is a snapshot ``key``, which the lease of ``scope`` then holds.

        Both in one step: what `stat` says may be gone a moment later, in a collection.
        """
        ...

    def flush(self, snapshotter: str = "") -> None:
        """Return once the files of all snapshots that have been committed are on disk.

        That happens by and by without being asked for. What was committed before and has not got there when the power
        goes is not trusted after: image layers are removed then, and unpacked anew when they are wanted.

        :raises DataLoss: they cannot be written.
        """
        ...

    def suspects(self) -> Sequence[Suspect]:
        """Snapshots of an earlier boot that may not be whole, and are still there."""
        ...

    def trust(self, suspect: Suspect) -> None:
        """It was looked at, and is whole."""
        ...

    def sweeper(self) -> SnapshotSweeper:
        """For collections."""
        ...
