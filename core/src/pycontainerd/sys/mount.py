"""mount(2) and umount2(2), and mounts as the API describes them.

Option strings are those of fstab(5); `parse` sorts them into flags, propagation and data. Light on purpose: shims
import it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument, NotFound
from pycontainerd.contracts.types import Mount

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

PAGE = 4096  # bytes of data that mount(2) takes

_SET = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "sync": MS_SYNCHRONOUS,
    "remount": MS_REMOUNT,
    "mand": MS_MANDLOCK,
    "dirsync": MS_DIRSYNC,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "relatime": MS_RELATIME,
    "strictatime": MS_STRICTATIME,
}
_CLEAR = {
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "dev": MS_NODEV,
    "exec": MS_NOEXEC,
    "async": MS_SYNCHRONOUS,
    "nomand": MS_MANDLOCK,
    "atime": MS_NOATIME,
    "diratime": MS_NODIRATIME,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "loud": 0,
    "defaults": 0,
}
_PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}


def parse(options: Sequence[str]) -> tuple[int, int, list[str]]:
    """Flags, propagation flags, and what is left for the file system, of fstab-style ``options``."""
    flags, propagation = 0, 0
    data: list[str] = []
    for option in options:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in _PROPAGATION:
            propagation |= _PROPAGATION[option]
        elif option and not option.startswith("X-") and option != "loop":
            data.append(option)
    return flags, propagation, data


def mount(one: Mount, target: str) -> None:
    """Mount ``one`` at ``target`` (below it, where the mount has a target of its own).

    :raises NotFound: source or target is missing.
    :raises InvalidArgument: the kernel does not take the options.
    :raises FailedPrecondition: anything else that mount(2) refuses, with its reason.
    """
    where = f"{target.rstrip('/')}/{one.target.lstrip('/')}" if one.target else target
    flags, propagation, data = parse(one.options)
    text = ",".join(data)
    if one.type == "overlay" and len(text) >= PAGE - 1:
        _mount_overlay_short(one, where, flags, data)
    else:
        _mount(one.source, where, one.type, flags & ~MS_RDONLY if flags & MS_BIND else flags, text, one)
    if flags & MS_BIND and flags & ~(MS_BIND | MS_REC):
        # A bind mount takes its other flags only when it is mounted again.
        _mount("", where, "", flags | MS_REMOUNT | MS_BIND, "", one)
    if propagation:
        _mount("", where, "", propagation, "", one)


def _mount(source: str, target: str, type_: str, flags: int, data: str, one: Mount) -> None:
    done = _libc.mount(source.encode(), target.encode(), type_.encode(), flags, data.encode())
    if done != 0:
        raise _error(
            ctypes.get_errno(), f"mount {one.type or 'none'} {one.source} at {target} ({','.join(one.options)[:512]})"
        )


def _mount_overlay_short(one: Mount, target: str, flags: int, data: Sequence[str]) -> None:
    """More lower directories than a page of options holds: name them relative to what they have in common.

    The working directory belongs to the whole process, so a child does it.
    """
    lower = next((item.removeprefix("lowerdir=") for item in data if item.startswith("lowerdir=")), "")
    layers = lower.split(":")
    common = os.path.commonpath(layers)
    short = [os.path.relpath(layer, common) for layer in layers]
    rest = [item for item in data if not item.startswith("lowerdir=")]
    text = ",".join(["lowerdir=" + ":".join(short), *rest])
    if len(text) >= PAGE:
        raise InvalidArgument(
            f"overlay of {len(layers)} layers at {target}: its options take {len(text)} bytes, the kernel takes {PAGE}",
            hint="use a shorter root directory, or flatten the image",
        )
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.chdir(common)
            done = _libc.mount(one.source.encode(), target.encode(), one.type.encode(), flags, text.encode())
            status = 0 if done == 0 else ctypes.get_errno()
        finally:
            os._exit(status)
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number != 0:
        raise _error(number, f"mount overlay of {len(layers)} layers at {target}")


def _error(number: int, what: str) -> Exception:
    reason = f"{what}: {os.strerror(number)}"
    if number == errno.ENOENT:
        return NotFound(reason)
    if number == errno.EINVAL:
        return InvalidArgument(reason, hint="the kernel's log may say more: dmesg")
    if number == errno.ENODEV:
        return FailedPrecondition(reason, hint="this kernel does not have that file system")
    return FailedPrecondition(reason)


def mount_all(mounts: Sequence[Mount], target: str) -> None:
    """Mount all of ``mounts`` at ``target`` in order; when one fails, those before it are unmounted again."""
    done = 0
    try:
        for one in mounts:
            mount(one, target)
            done += 1
    except BaseException:
        for _ in range(done):
            unmount(target)
        raise


def unmount(target: str, flags: int = 0) -> None:
    """Unmount the topmost mount at ``target``; nothing there is no error.

    :raises FailedPrecondition: it is busy, or umount2(2) refuses for another reason.
    """
    if _libc.umount2(target.encode(), flags | UMOUNT_NOFOLLOW) != 0:
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOENT):
            raise FailedPrecondition(f"unmount {target}: {os.strerror(number)}")


def unmount_all(target: str, flags: int = 0) -> None:
    """Unmount everything mounted at or below ``target``, the deepest first."""
    for where in reversed(mounts_under(target)):
        unmount(where, flags)


def mounts_under(path: str) -> list[str]:
    """Mount points at or below ``path``, in the order they were mounted (proc_pid_mountinfo(5))."""
    real = os.path.realpath(path)
    found = []
    with open("/proc/self/mountinfo", "rb") as handle:
        for line in handle:
            where = _unescape(line.split(b" ", 5)[4])
            if where == real or where.startswith(real.rstrip("/") + "/"):
                found.append(where)
    return found


def _unescape(field: bytes) -> str:
    if b"\\" not in field:
        return os.fsdecode(field)
    out = bytearray()
    at = 0
    while at < len(field):
        if field[at] == 0x5C:
            out.append(int(field[at + 1 : at + 4], 8))
            at += 4
        else:
            out.append(field[at])
            at += 1
    return os.fsdecode(bytes(out))


@contextlib.contextmanager
def mounted(mounts: Sequence[Mount], directory: str | None = None) -> Iterator[str]:
    """The path of a fresh directory with ``mounts`` on it, for as long as the block runs.

    The directory is removed with rmdir only: a mount that would not go can never be deleted through.
    """
    target = tempfile.mkdtemp(prefix="containerd-mount", dir=directory)
    try:
        mount_all(mounts, target)
        try:
            yield target
        finally:
            for _ in mounts:
                try:
                    unmount(target)
                except FailedPrecondition:
                    unmount(target, MNT_DETACH)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(target)


def remove_tree(path: str) -> None:
    """Delete the tree at ``path``, but never through a mount point.

    :raises FailedPrecondition: something is mounted at or below it.
    """
    held = mounts_under(path)
    if held:
        raise FailedPrecondition(f"cannot remove {path}: {held[-1]} is mounted", hint="unmount it first")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
