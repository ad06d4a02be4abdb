"""The ioctls of btrfs (linux/btrfs.h) that a snapshotter needs. Each releases the GIL and raises OSError on failure."""

from __future__ import annotations

import contextlib
import os
import platform
import struct
from collections.abc import Iterator

import attrs

from pycontainerd.sys.libc import ioctl

# Where the direction is in the number of an ioctl; a few architectures have one bit more for it.
_OLD_LAYOUT = platform.machine().startswith(("ppc", "mips", "sparc", "alpha"))
_WRITE, _READ, _DIRECTION = (4, 2, 29) if _OLD_LAYOUT else (1, 2, 30)
_MAGIC = 0x94


def _number(direction: int, command: int, size: int) -> int:
    return direction << _DIRECTION | size << 16 | _MAGIC << 8 | command


_NAMED = struct.Struct("=q4088s")  # btrfs_ioctl_vol_args
_NAMED_V2 = struct.Struct("=qQQ32x4040s")  # btrfs_ioctl_vol_args_v2
_BY_ID = struct.Struct("=qQQ32xQ4032x")  # the same, for its number instead of its name
_LOOKUP = struct.Struct("=QQ4080s")  # btrfs_ioctl_ino_lookup_args
_INFO = struct.Struct("=Q256x16xQQ56xQ144x")  # btrfs_ioctl_get_subvol_info_args
_KEY = struct.Struct("=7Q4I32xQ")  # btrfs_ioctl_search_args_v2 without its buffer
_FOUND = struct.Struct("=QQQII")  # btrfs_ioctl_search_header

_CREATE = _number(_WRITE, 14, _NAMED.size)
_DESTROY = _number(_WRITE, 15, _NAMED.size)
_SEARCH = _number(_READ | _WRITE, 17, _KEY.size)
_LOOK_UP = _number(_READ | _WRITE, 18, _LOOKUP.size)
_SNAPSHOT = _number(_WRITE, 23, _NAMED_V2.size)
_SET_FLAGS = _number(_WRITE, 26, 8)
_GET_INFO = _number(_READ, 60, _INFO.size)
_DESTROY_BY_ID = _number(_WRITE, 63, _NAMED_V2.size)

_FLAG_READ_ONLY, _FLAG_BY_ID = 1 << 1, 1 << 4
_ROOT_READ_ONLY = 1 << 0
_ALL = (1 << 64) - 1
_BUFFER = 1 << 18
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

ROOT_TREE = 1
"""The tree that has an item for each subvolume."""


@attrs.frozen
class Subvolume:
    """``changed`` and ``made`` are the transactions that changed it last and that made it as a snapshot (else 0)."""

    id: int
    read_only: bool
    changed: int
    made: int


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of the directory ``path``, which is not a link."""
    fd = os.open(path, _DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def create(directory: int, name: str) -> None:
    """Make an empty subvolume."""
    ioctl(directory, _CREATE, bytearray(_NAMED.pack(0, os.fsencode(name))), "create subvolume")


def snapshot(source: int, directory: int, name: str, *, read_only: bool) -> None:
    """Make a snapshot of the subvolume ``source``; what was written there is on the disk when this returns."""
    flags = _FLAG_READ_ONLY if read_only else 0
    ioctl(directory, _SNAPSHOT, bytearray(_NAMED_V2.pack(source, 0, flags, os.fsencode(name))), "snapshot")


def destroy(directory: int, name: str) -> None:
    """Delete a subvolume. ENOTEMPTY: there are others in it."""
    ioctl(directory, _DESTROY, bytearray(_NAMED.pack(0, os.fsencode(name))), "destroy subvolume")


def destroy_by_id(anywhere: int, number: int) -> None:
    """Delete a subvolume wherever it is on the file system of the descriptor ``anywhere`` (Linux 5.7)."""
    ioctl(anywhere, _DESTROY_BY_ID, bytearray(_BY_ID.pack(0, 0, _FLAG_BY_ID, number)), "destroy subvolume")


def set_writable(subvolume: int) -> None:
    """Take the read-only flag off."""
    ioctl(subvolume, _SET_FLAGS, bytearray(8), "make subvolume writable")


def info(subvolume: int) -> Subvolume:
    """What the file system knows of it."""
    answer = bytearray(_INFO.size)
    ioctl(subvolume, _GET_INFO, answer, "look at subvolume")
    number, changed, flags, made = _INFO.unpack(answer)
    return Subvolume(number, bool(flags & _ROOT_READ_ONLY), changed, made)


def directory_path(anywhere: int, tree: int, inode: int) -> str:
    """The path of a directory within its subvolume ``tree``, ending with a slash unless empty."""
    answer = bytearray(_LOOKUP.pack(tree, inode, b""))
    ioctl(anywhere, _LOOK_UP, answer, "look up directory")
    path: bytes = _LOOKUP.unpack(answer)[2]
    return os.fsdecode(path.split(b"\0", 1)[0])


Key = tuple[int, int, int]
"""Of an item: object, type, offset."""


def search(anywhere: int, tree: int, first: Key, last: Key, since: int = 0) -> Iterator[tuple[Key, memoryview]]:
    """The items of ``tree`` (0: that of the descriptor) from ``first`` to ``last`` with their data.

    Blocks of the tree that no transaction after ``since`` has written are left out.
    """
    newer = since + 1 if since else 0
    # The keys' order is that of tuples, so the first key after one is the same with the next offset.
    while True:
        buffer = bytearray(_KEY.size + _BUFFER)
        _KEY.pack_into(
            buffer,
            0,
            tree,
            first[0],
            last[0],
            first[2],
            last[2],
            newer,
            _ALL,
            first[1],
            last[1],
            0xFFFFFFFF,
            0,
            _BUFFER,
        )
        ioctl(anywhere, _SEARCH, buffer, "search tree")
        count = _KEY.unpack_from(buffer)[9]
        view, at, key = memoryview(buffer), _KEY.size, first
        for _ in range(count):
            _, number, offset, kind, size = _FOUND.unpack_from(buffer, at)
            at += _FOUND.size
            key = (number, kind, offset)
            yield key, view[at : at + size]
            at += size
        if not count or key >= last:
            return
        first = _after(key)


def _after(key: Key) -> Key:
    number, kind, offset = key
    if offset < _ALL:
        return number, kind, offset + 1
    return (number, kind + 1, 0) if kind < 255 else (number + 1, 0, 0)
