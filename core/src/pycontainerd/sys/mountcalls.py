"""Mounting and unmounting, without what only the daemon needs of it: a shim is small by importing little.

A mount is what crosses the API: type, source, fstab options, and a ``target`` below the mount point.
"""

from __future__ import annotations

import errno
import os
import time

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

from . import libc
from .mountflags import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, parse_options
from .mountinfo import mounts_under

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from .mountflags import MountPlan

    class Mount(Protocol):
        """`contracts.types.Mount`, or whatever has the same fields."""

        @property
        def type(self) -> str: ...
        @property
        def source(self) -> str: ...
        @property
        def target(self) -> str: ...
        @property
        def options(self) -> Sequence[str]: ...


MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_PAGE = os.sysconf("SC_PAGE_SIZE")
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
            try:
                point, fd = _point(mount, target)
                try:
                    libc.umount2(point, MNT_DETACH)
                finally:
                    _release(fd)
            except OSError:
                continue
        raise


def mount_one(mount: Mount, target: str) -> None:
    """Mount one; see `mount_all`."""
    what = f"mount {mount.type} {mount.source!r} at {f'{target}/{mount.target}'.rstrip('/')!r}"
    if mount.type.startswith(("fuse.", "fuse3.")):
        raise NotImplemented(f"{what}: mount helpers for FUSE are not supported")
    plan = parse_options(mount.options)
    try:
        point, fd = _point(mount, target)
        try:
            _mount_at(mount, point, plan)
        finally:
            _release(fd)
    except OSError as exc:
        raise translate(exc, what) from exc
    except ValueError as exc:
        raise InvalidArgument(f"{what}: {exc}") from exc


def _mount_at(mount: Mount, point: str, plan: MountPlan) -> None:
    if plan.uidmap:
        from . import mountmapped

        mountmapped.mount_mapped(mount, point, plan)
    else:
        mount_plain(mount, point, plan)
    try:
        _adjust(point, plan)
    except OSError:
        if not plan.flags & MS_REMOUNT:
            libc.umount2(point, MNT_DETACH)
        raise


def mount_plain(mount: Mount, point: str, plan: MountPlan) -> None:
    """mount(2), and what is beyond it for an overlay of many layers.

    :raises OSError: what the kernel says.
    """
    data = ",".join(plan.data)
    if mount.type == "overlay" and len(os.fsencode(data)) >= _PAGE - 1:
        from . import overlay

        overlay.mount_long(mount.source, point, plan)
    else:
        libc.mount(mount.source, point, mount.type, plan.flags, data)


def _adjust(point: str, plan: MountPlan) -> None:
    """What a fresh mount takes only in calls of their own: propagation, and the flags of a bind mount."""
    if plan.propagation:
        libc.mount(None, point, None, plan.propagation, None)
    if plan.flags & MS_BIND and plan.flags & ~(MS_BIND | MS_REC | MS_REMOUNT):
        flags = plan.flags & ~MS_REC | MS_REMOUNT | _locked_flags(point)
        libc.mount(None, point, None, flags, None)


def _point(mount: Mount, target: str) -> tuple[str, int]:
    """The path to mount at, and a descriptor that keeps it what it is (to be released; -1 if it takes none).

    A ``target`` of the mount is resolved inside the mount point, whatever links are there.
    """
    if not mount.target.strip("/"):
        return target, -1
    from . import openat2

    root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = openat2.openat2(root, mount.target, os.O_PATH, resolve=openat2.IN_ROOT | openat2.NO_MAGICLINKS)
    finally:
        os.close(root)
    try:
        return os.readlink(f"/proc/self/fd/{fd}"), fd
    except BaseException:
        os.close(fd)
        raise


def _release(fd: int) -> None:
    if fd >= 0:
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
