"""Mount options as fstab has them, to the flags and data of mount(2) and back. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pycontainerd.contracts.errors import InvalidArgument, NotImplemented
from pycontainerd.contracts.types import Mount

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000

_SET = {
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "remount": MS_REMOUNT,
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "nosymfollow": MS_NOSYMFOLLOW,
    "sync": MS_SYNCHRONOUS,
    "dirsync": MS_DIRSYNC,
    "mand": MS_MANDLOCK,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "relatime": MS_RELATIME,
    "strictatime": MS_STRICTATIME,
    "lazytime": MS_LAZYTIME,
    "silent": MS_SILENT,
}
_CLEAR = {
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "dev": MS_NODEV,
    "exec": MS_NOEXEC,
    "symfollow": MS_NOSYMFOLLOW,
    "async": MS_SYNCHRONOUS,
    "nomand": MS_MANDLOCK,
    "atime": MS_NOATIME,
    "diratime": MS_NODIRATIME,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "nolazytime": MS_LAZYTIME,
    "loud": MS_SILENT,
}
_PROPAGATION = {
    "shared": MS_SHARED,
    "private": MS_PRIVATE,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
    "rshared": MS_SHARED | MS_REC,
    "rprivate": MS_PRIVATE | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
_VOLATILE = ("volatile", "fsync=volatile")


@attrs.frozen
class MountPlan:
    """What to ask of the kernel: ``flags`` and ``data`` of the mount, then the ``propagation`` of its point.

    ``uidmap`` and ``gidmap`` (`sys.idmap`), both or none, map the owners that are seen through it.
    """

    flags: int = 0
    propagation: int = 0
    data: Sequence[str] = ()
    uidmap: str = ""
    gidmap: str = ""

    @property
    def bind(self) -> bool:
        return bool(self.flags & MS_BIND)


def parse_options(options: Sequence[str]) -> MountPlan:
    """Sort options into flags, propagation, and data for the file system. A later option wins over an earlier.

    :raises InvalidArgument: an option that is meant for the mount manager is left over; only users, or only groups,
        are mapped.
    :raises NotImplemented: ``loop`` (a mount without it would be a wrong one).
    """
    flags = propagation = 0
    maps = {"uidmap": "", "gidmap": ""}
    data: list[str] = []
    for option in options:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option.startswith("X-containerd."):
            raise InvalidArgument(f"mount option {option!r} is for the mount manager, which has not handled it")
        elif option.startswith(("uidmap=", "gidmap=")):
            maps[option[:6]] = option[7:]
        elif option == "loop":
            raise NotImplemented(f"mount option {option!r} is not supported")
        elif option and option != "defaults":
            data.append(option)
    if bool(maps["uidmap"]) != bool(maps["gidmap"]):
        raise InvalidArgument("mount options uidmap and gidmap go together: one is missing")
    return MountPlan(flags, propagation, tuple(data), **maps)


def is_read_only(mount: Mount) -> bool:
    """Whether nothing can be written through ``mount``, so far as its type and options say."""
    options = ",".join(mount.options).split(",")
    if "ro" in options or mount.type.rsplit("/", 1)[-1] == "erofs":
        return True
    return mount.type == "overlay" and not any(option.startswith("upperdir=") for option in options)


def read_only(mounts: Sequence[Mount]) -> list[Mount]:
    """The same mounts so that nothing can be written: an overlay's upper directory becomes its topmost lower one."""
    return [attrs.evolve(mount, options=_read_only_options(mount)) for mount in mounts]


def _read_only_options(mount: Mount) -> tuple[str, ...]:
    if mount.type != "overlay":
        return (*(option for option in mount.options if option not in ("ro", "rw")), "ro")
    upper = [option.removeprefix("upperdir=") for option in mount.options if option.startswith("upperdir=")]
    result = []
    for option in mount.options:
        if option.startswith("lowerdir="):
            result.append("lowerdir=" + ":".join([*upper, option.removeprefix("lowerdir=")]))
        elif not option.startswith(("upperdir=", "workdir=", "uidmap=", "gidmap=")):
            result.append(option)
    return tuple(result)


def without_volatile(mounts: Sequence[Mount]) -> list[Mount]:
    """The same mounts without overlay's ``volatile``: with it, an upper directory can be mounted only once."""
    return [
        attrs.evolve(mount, options=tuple(option for option in mount.options if option not in _VOLATILE))
        if mount.type == "overlay"
        else mount
        for mount in mounts
    ]
