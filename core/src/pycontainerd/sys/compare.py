"""Whether two trees have the same files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import islice

from pycontainerd.contracts.types import Mount

_CHUNK = 1 << 20
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_BOOKKEEPING = ("trusted.overlay.", "user.overlay.")  # of overlayfs; only opaqueness says something of the files


def own_directory(mounts: Sequence[Mount]) -> str:
    """The directory that has what a snapshot itself adds, where its mounts name one; else empty: mount them and look."""
    if len(mounts) != 1:
        return ""
    mount = mounts[0]
    if mount.type == "bind" or (not mount.type and "rbind" in mount.options):
        return mount.source
    if mount.type == "overlay":
        for prefix in ("upperdir=", "lowerdir="):
            for option in mount.options:
                if option.startswith(prefix):
                    return option.removeprefix(prefix).split(":")[0]
    return ""


def differences(wanted: str, found: str, limit: int = 10) -> list[str]:
    """Sentences on what the tree ``found`` has that is not as in ``wanted``, ``limit`` at most. Times do not count."""
    return list(islice(_tree(wanted, found), limit))


def _tree(wanted: str, found: str) -> Iterator[str]:
    pending = [""]
    while pending:
        below = pending.pop()
        one, other = os.path.join(wanted, below), os.path.join(found, below)
        there, here = set(os.listdir(one)), set(os.listdir(other))
        yield from (f"/{os.path.join(below, name)} is missing" for name in sorted(there - here))
        yield from (f"/{os.path.join(below, name)} does not belong there" for name in sorted(here - there))
        for name in sorted(there & here):
            path = os.path.join(below, name)
            reason = _node(os.path.join(wanted, path), os.path.join(found, path))
            if reason:
                yield f"/{path} {reason}"
            elif stat.S_ISDIR(os.lstat(os.path.join(wanted, path)).st_mode):
                pending.append(path)


def _node(wanted: str, found: str) -> str:
    """Why the file ``found`` is not as ``wanted``; empty when it is."""
    one, other = os.lstat(wanted), os.lstat(found)
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode):
        return "is of another type"
    if stat.S_ISREG(one.st_mode):
        if one.st_size != other.st_size:
            return f"has {other.st_size} bytes instead of {one.st_size}"
        if not _same_data(wanted, found):
            return "has other data"
    elif stat.S_ISLNK(one.st_mode):
        if os.readlink(wanted) != os.readlink(found):
            return "points elsewhere"
    elif one.st_rdev != other.st_rdev:
        return "is another device"
    if (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
        return "has another mode or owner"
    return "" if _attributes(wanted) == _attributes(found) else "has other extended attributes"


def _same_data(one: str, other: str) -> bool:
    with open(one, "rb", buffering=0) as left, open(other, "rb", buffering=0) as right:
        while True:
            data = left.read(_CHUNK)
            if data != right.read(_CHUNK):
                return False
            if not data:
                return True


def _attributes(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    wanted = [name for name in names if name in _OPAQUE or not name.startswith(_BOOKKEEPING)]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in wanted}
