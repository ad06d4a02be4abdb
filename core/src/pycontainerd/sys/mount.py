"""Mounting what snapshotters hand out, and unmounting it.

A `Mount` record is what crosses the API: type, source, fstab options, and a ``target`` below the mount point.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.contracts.types import Mount

from . import libc
from .mountcalls import (
    MNT_DETACH,
    MNT_FORCE,
    UMOUNT_NOFOLLOW,
    mount_all,
    mount_one,
    translate,
    unmount,
    unmount_all,
    unmount_recursive,
)
from .mountinfo import is_mount_point, mounts_under
from .mountopts import read_only, without_volatile
from .tree import remove_at

_TEMPORARY = "containerd-mount"


@contextlib.contextmanager
def mounted(mounts: Sequence[Mount], directory: str | None = None, *, read_only_view: bool = False) -> Iterator[str]:
    """Mount ``mounts`` on a new temporary directory (made in ``directory``) for the time of the ``with``; gives its path.

    ``read_only_view`` mounts them so that nothing can be written.
    The directory is removed only by rmdir: should unmounting fail, nothing that is mounted there is deleted.
    """
    wanted = read_only(mounts) if read_only_view else list(mounts)
    base = tempfile.mkdtemp(prefix=_TEMPORARY, dir=directory)
    try:
        mount_all(without_volatile(wanted), base)
        try:
            yield base
        finally:
            unmount_recursive(base)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(base)


def unmount_left(directory: str) -> list[str]:
    """Take down what `mounted` left in ``directory`` when its process was killed; returns the mount points.

    :raises FailedPrecondition: one is in use. Nothing that is mounted is ever deleted.
    """
    left = sorted(entry.path for entry in os.scandir(directory) if entry.name.startswith(_TEMPORARY) and entry.is_dir())
    for path in left:
        unmount_recursive(path)
        with contextlib.suppress(OSError):  # not empty: somebody else's
            os.rmdir(path)
    return left


def remove_tree(path: str) -> None:
    """Delete the tree at ``path``, but never through a mount point; fine when it is not there.

    :raises FailedPrecondition: something is mounted at or below it.
    """
    held = mounts_under(path)
    if held:
        raise FailedPrecondition(f"cannot remove {path}: {held[0].point} is mounted", hint="unmount it first")
    try:
        remove_at(libc.AT_FDCWD, path)
    except OSError as exc:
        raise translate(exc, f"remove {path}") from exc


__all__ = [
    "MNT_DETACH",
    "MNT_FORCE",
    "UMOUNT_NOFOLLOW",
    "is_mount_point",
    "mount_all",
    "mount_one",
    "mounted",
    "mounts_under",
    "remove_tree",
    "translate",
    "unmount",
    "unmount_all",
    "unmount_left",
    "unmount_recursive",
]
