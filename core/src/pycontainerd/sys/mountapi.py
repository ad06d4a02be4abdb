"""The new mount API (Linux 5.2 and later): file descriptors for mounts that are not anywhere yet.

Constants carry the kernel's names without their prefix where the function makes it plain.
"""

from __future__ import annotations

import ctypes
import os

from .libc import AT_EMPTY_PATH, AT_FDCWD, encode, syscall

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE = 0, 1, 5, 6
FSCONFIG_MAX_STRING = 255  # bytes of a value, the kernel's limit

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def open_tree(path: str, flags: int = OPEN_TREE_CLONE, dirfd: int = AT_FDCWD) -> int:
    """A descriptor of the mount at ``path``: with CLONE a detached copy of it."""
    return syscall("open_tree", _OPEN_TREE, dirfd, encode(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(fd: int, target: str | int) -> None:
    """Attach the detached mount ``fd`` at ``target`` (a path, or a descriptor of the mount point)."""
    if isinstance(target, int):
        flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
        syscall("move_mount", _MOVE_MOUNT, fd, b"", target, b"", flags)
    else:
        syscall("move_mount", _MOVE_MOUNT, fd, b"", AT_FDCWD, encode(target), MOVE_MOUNT_F_EMPTY_PATH, path=target)


def mount_setattr(
    fd: int,
    *,
    set: int = 0,  # noqa: A002 - the kernel's name
    clear: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
    flags: int = AT_EMPTY_PATH,
) -> None:
    """Change the attributes of the mount ``fd`` (add AT_RECURSIVE to ``flags`` for the whole tree)."""
    attr = _MountAttr(set, clear, propagation, userns_fd)
    syscall("mount_setattr", _MOUNT_SETATTR, fd, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr))


def fsopen(fstype: str) -> int:
    """A configuration context for a new superblock of ``fstype``."""
    return syscall("fsopen", _FSOPEN, encode(fstype), FSOPEN_CLOEXEC, path=fstype)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    """Set a parameter; the kernel takes at most 255 bytes."""
    try:
        syscall("fsconfig", _FSCONFIG, fd, FSCONFIG_SET_STRING, encode(key), encode(value), 0)
    except OSError as exc:
        raise _with_log(exc, fd, f"{key}={value}") from None


def fsconfig_flag(fd: int, key: str) -> None:
    """Set a parameter that takes no value."""
    try:
        syscall("fsconfig", _FSCONFIG, fd, FSCONFIG_SET_FLAG, encode(key), None, 0)
    except OSError as exc:
        raise _with_log(exc, fd, key) from None


def fsconfig_create(fd: int) -> None:
    """Make the superblock."""
    try:
        syscall("fsconfig", _FSCONFIG, fd, FSCONFIG_CMD_CREATE, None, None, 0)
    except OSError as exc:
        raise _with_log(exc, fd, "create") from None


def fsmount(fd: int, attributes: int = 0) -> int:
    """A detached mount of the superblock made in context ``fd``."""
    return syscall("fsmount", _FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)


def _with_log(exc: OSError, fd: int, what: str) -> OSError:
    """The error with what the kernel wrote into the context's log, which is where the reason is."""
    lines: list[str] = []
    try:
        while line := os.read(fd, 1024):
            lines.append(line.decode(errors="replace").strip())
    except OSError:
        pass  # an empty log reads as ENODATA
    reason = "; ".join(lines) or os.strerror(exc.errno or 0)
    return OSError(exc.errno, f"fsconfig {what}: {reason}")
