"""Mount options as fstab has them, to the flags and data of mount(2). Pure."""

from __future__ import annotations

from pycontainerd.contracts.errors import InvalidArgument, NotImplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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


class MountPlan:
    """What to ask of the kernel: ``flags`` and ``data`` of the mount, then the ``propagation`` of its point.

    ``uidmap`` and ``gidmap`` (`sys.idmap`), both or none, map the owners that are seen through it.
    """

    __slots__ = ("data", "flags", "gidmap", "propagation", "uidmap")

    def __init__(self, flags: int, propagation: int, data: Sequence[str], uidmap: str = "", gidmap: str = "") -> None:
        self.flags = flags
        self.propagation = propagation
        self.data = data
        self.uidmap = uidmap
        self.gidmap = gidmap

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
