"""What there is: four truths that should say the same. Nothing is changed by looking."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.snapshots import Holding
from pycontainerd.sys.mountinfo import MountInfo, read_mountinfo

_BLOB = re.compile(r"[0-9a-f]{32,128}\Z")
_TREE = re.compile(r"(?:(new|rm)\.)?(\d+)\Z")
_FOLDERS = ("snapshots", "active", "view")  # of what keeps its trees in directories
_DIRECTORY_OPTIONS = ("lowerdir=", "upperdir=", "workdir=", "lowerdir+=")


@attrs.frozen
class Place:
    """A snapshotter on disk. ``find`` gives its trees; None where nobody can say without a daemon."""

    name: str
    root: str
    find: Callable[[str], Iterable[Holding]] | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is there; perhaps because a file system is not mounted."""
        return not os.path.isdir(self.root) or not os.listdir(self.root)

    def holdings(self) -> list[Holding] | None:
        """Its trees; None where nobody can say."""
        if self.find is not None:
            try:
                return list(self.find(self.root))
            except (ContainerdError, OSError):  # a file system that is not mounted: nothing in it is gone
                return None
        if not any(os.path.isdir(os.path.join(self.root, folder)) for folder in _FOLDERS):
            return None
        return list(_directories(self.root))


@attrs.frozen
class Site:
    """Where a daemon keeps things: the database, the content store, the snapshotters."""

    database: str
    content: str
    places: Sequence[Place]

    @property
    def journal(self) -> str:
        return os.path.join(os.path.dirname(self.database), "fsck.journal")


def _directories(root: str) -> Iterator[Holding]:
    for folder in _FOLDERS:
        path = os.path.join(root, folder)
        if os.path.isdir(path):
            for name in os.listdir(path):
                found = _TREE.match(name)
                if found:
                    yield Holding(int(found[2]), os.path.join(path, name), leftover=bool(found[1]))


def blobs(content: str) -> Iterator[tuple[str, str, int]]:
    """Digest, path and size of every blob."""
    base = os.path.join(content, "blobs")
    for algorithm in _names(base):
        for name in _names(os.path.join(base, algorithm)):
            path = os.path.join(base, algorithm, name)
            if _BLOB.match(name):
                yield f"{algorithm}:{name}", path, os.lstat(path).st_size


def ingests(content: str) -> dict[str, str]:
    """Paths of ingests by the name of their directory."""
    base = os.path.join(content, "ingest")
    return {name: os.path.join(base, name) for name in _names(base)}


def ingest_name(namespace: str, number: int, ref: str) -> str:
    """The directory of the ingest with this record, as the content service and store make it."""
    return hashlib.sha256(f"{namespace}/{number}/{ref}".encode()).hexdigest()


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


@attrs.frozen
class Mounts:
    """What is mounted, and what of it reaches into directories."""

    mounts: Sequence[MountInfo]
    sources: Mapping[str, str]  # directories that overlays are made of, and where those are mounted

    def using(self, path: str) -> str:
        """Where ``path``, or something in it, is mounted or part of a mount; empty when it is not."""
        prefix = path.rstrip("/") + "/"
        for mount in self.mounts:
            if mount.point == path or mount.point.startswith(prefix):
                return mount.point
        for directory, point in self.sources.items():
            if directory == path or directory.startswith(prefix):
                return point
        return ""


def mounts() -> Mounts:
    """As this process sees them."""
    found = read_mountinfo()
    sources: dict[str, str] = {}
    for mount in found:
        if mount.fstype == "overlay":
            for option in mount.super_options.split(","):
                for prefix in _DIRECTORY_OPTIONS:
                    if option.startswith(prefix):
                        sources.update(dict.fromkeys(option.removeprefix(prefix).split(":"), mount.point))
    return Mounts(found, sources)
