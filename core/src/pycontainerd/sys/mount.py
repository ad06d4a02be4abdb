"""Mounting what snapshotters hand out, and unmounting it.

A `Mount` record is what crosses the API: type, source, fstab options, and a ``target`` below the mount point.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterator, Sequence

from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    NotImplemented,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from pycontainerd.contracts.types import Mount

from . import idmap, libc, mountapi, openat2, overlay
from .mountinfo import is_mount_point, mounts_under
from .mountopts import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MountPlan,
    parse_options,
    read_only,
    without_volatile,
)
from .tree import remove_at

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_BUSY_TRIES = 50
_BUSY_PAUSE = 0.02  # seconds; who keeps a mount busy is most often a fork that is about to exec

_ERRORS: dict[int, type[ContainerdError]] = {
    errno.ENOENT: NotFound,
    errno.ENODEV: NotImplemented,
    errno.ENOSYS: NotImplemented,
    errno.EPERM: PermissionDenied,
    errno.EACCES: PermissionDenied,
    errno.EBUSY: FailedPrecondition,
    errno.EEXIST: AlreadyExists,
    errno.EINVAL: InvalidArgument,
    errno.E2BIG: InvalidArgument,
    errno.ELOOP: InvalidArgument,
    errno.ENOTDIR: InvalidArgument,
    errno.ENAMETOOLONG: InvalidArgument,
    errno.ENOSPC: ResourceExhausted,
    errno.EDQUOT: ResourceExhausted,
    errno.ENOMEM: ResourceExhausted,
    errno.EMFILE: ResourceExhausted,
    errno.ENFILE: ResourceExhausted,
    errno.EROFS: FailedPrecondition,
    errno.EAGAIN: Unavailable,
}


def translate(exc: OSError, what: str) -> ContainerdError:
    """The error of the family for an errno; ``what`` says what was tried, on what."""
    return _ERRORS.get(exc.errno or 0, Internal)(f"{what}: {exc.strerror or exc}")


def mount_all(mounts: Sequence[Mount], target: str) -> None:
    """Mount each of ``mounts`` at ``target``, or at its own ``target`` below it (links there stay inside ``target``).

    When one fails, those before it are unmounted again.

    :raises ContainerdError: of the class that fits the errno, naming the mount.
    """
    done: list[Mount] = []
    try:
        for mount in mounts:
            mount_one(mount, target)
            done.append(mount)
    except ContainerdError:
        for mount in reversed(done):
            # The first error is the one to tell.
            with contextlib.suppress(OSError), _point(mount, target) as point:
                libc.umount2(point, MNT_DETACH)
        raise


def mount_one(mount: Mount, target: str) -> None:
    """Mount one; see `mount_all`."""
    what = f"mount {mount.type} {mount.source!r} at {os.path.join(target, mount.target)!r}"
    if mount.type.startswith(("fuse.", "fuse3.")):
        raise NotImplemented(f"{what}: mount helpers for FUSE are not supported")
    plan = parse_options(mount.options)
    try:
        with _point(mount, target) as point:
            if plan.uidmap:
                _mount_mapped(mount, point, plan, idmap.parse(plan.uidmap, plan.gidmap))
            else:
                _mount_plain(mount, point, plan)
            try:
                _adjust(point, plan)
            except OSError:
                if not plan.flags & MS_REMOUNT:
                    libc.umount2(point, MNT_DETACH)
                raise
    except OSError as exc:
        raise translate(exc, what) from exc
    except ValueError as exc:
        raise InvalidArgument(f"{what}: {exc}") from exc


def _mount_plain(mount: Mount, point: str, plan: MountPlan) -> None:
    if mount.type == "overlay" and overlay.needs_help(plan):
        overlay.mount_long(mount.source, point, plan)
    else:
        libc.mount(mount.source, point, mount.type, plan.flags, ",".join(plan.data))


def _mount_mapped(mount: Mount, point: str, plan: MountPlan, mapping: idmap.IdMap) -> None:
    """Owners are mapped by a mount in between; for an overlay that of its lower layers, for what is written has owners already."""
    if mount.type == "overlay":
        with overlay.mapped_layers(plan, mapping) as mapped:
            _mount_plain(mount, point, mapped)
        return
    if plan.bind:
        fd = idmap.clone(mount.source, mapping, recursive=bool(plan.flags & MS_REC))
    else:
        _mount_plain(mount, point, plan)
        try:
            fd = idmap.clone(point, mapping)
        finally:
            libc.umount2(point, MNT_DETACH)
    try:
        mountapi.move_mount(fd, point)
    finally:
        os.close(fd)


def _adjust(point: str, plan: MountPlan) -> None:
    """What a fresh mount takes only in calls of their own: propagation, and the flags of a bind mount."""
    if plan.propagation:
        libc.mount(None, point, None, plan.propagation, None)
    if plan.flags & MS_BIND and plan.flags & ~(MS_BIND | MS_REC | MS_REMOUNT):
        flags = plan.flags & ~MS_REC | MS_REMOUNT | _locked_flags(point)
        libc.mount(None, point, None, flags, None)


@contextlib.contextmanager
def _point(mount: Mount, target: str) -> Iterator[str]:
    """The path to mount at. A ``target`` of the mount is resolved inside the mount point, whatever links are there."""
    if not mount.target.strip("/"):
        yield target
        return
    root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = openat2.openat2(root, mount.target, os.O_PATH, resolve=openat2.IN_ROOT | openat2.NO_MAGICLINKS)
    finally:
        os.close(root)
    try:
        yield os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _locked_flags(point: str) -> int:
    """Flags that a user namespace must not clear on a remount (they are refused otherwise)."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if file.read().split() == ["0", "0", "4294967295"]:
            return 0
    return os.statvfs(point).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def unmount(target: str, flags: int = 0) -> bool:
    """Unmount what is mounted at ``target`` last; False when nothing is (or ``target`` is not there).

    A busy mount is tried again for about a second (not with MNT_DETACH).

    :raises FailedPrecondition: it stays busy.
    """
    for attempt in range(_BUSY_TRIES):
        try:
            libc.umount2(target, flags)
            return True
        except OSError as exc:
            if exc.errno in (errno.EINVAL, errno.ENOENT):
                return False
            if exc.errno != errno.EBUSY or attempt == _BUSY_TRIES - 1:
                raise translate(exc, f"unmount {target!r}") from exc
        time.sleep(_BUSY_PAUSE)
    return False


def unmount_all(target: str, flags: int = 0) -> None:
    """Unmount until nothing is mounted at ``target``; fine when nothing is.

    :raises ContainerdError: of the class that fits the errno.
    """
    while unmount(target, flags):
        pass


def unmount_recursive(target: str, flags: int = 0) -> None:
    """Unmount everything at and below ``target``, the deepest first."""
    for info in mounts_under(target):
        unmount(info.point, flags | UMOUNT_NOFOLLOW)


@contextlib.contextmanager
def mounted(mounts: Sequence[Mount], directory: str | None = None, *, read_only_view: bool = False) -> Iterator[str]:
    """Mount ``mounts`` on a new temporary directory (made in ``directory``) for the time of the ``with``; gives its path.

    ``read_only_view`` mounts them so that nothing can be written.
    The directory is removed only by rmdir: should unmounting fail, nothing that is mounted there is deleted.
    """
    wanted = read_only(mounts) if read_only_view else list(mounts)
    base = tempfile.mkdtemp(prefix="containerd-mount", dir=directory)
    try:
        mount_all(without_volatile(wanted), base)
        try:
            yield base
        finally:
            unmount_recursive(base)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(base)


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
    "unmount_recursive",
]
