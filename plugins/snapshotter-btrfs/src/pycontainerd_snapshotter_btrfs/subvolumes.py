"""btrfs subvolumes by path: made, deleted with all that is in them, and measured."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Iterator

from pycontainerd.contracts.snapshots import Usage
from pycontainerd.sys import libc, openat2
from pycontainerd.sys.mount import translate
from pycontainerd.sys.tree import remove_at

from . import ioctls

ROOT_INODE = 256
"""The inode number of a subvolume's root directory."""

_INODE, _EXTENT, _CHILD = 1, 108, 156  # types of items
_INLINE = 0
_LAST = (1 << 64) - 1
_INODE_MADE = struct.Struct("<Q")
_EXTENT_HEAD = struct.Struct("<QQBBHB")  # of btrfs_file_extent_item; then the data, or where they are
_EXTENT_PLACE = struct.Struct("<QQ")
_CHILD_HEAD = struct.Struct("<QQH")  # of btrfs_root_ref; then the name
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise translate(exc, what) from exc


def create(path: str, mode: int) -> None:
    """Make an empty subvolume at ``path``.

    :raises ContainerdError: of the class that fits the errno, as all here.
    """
    directory, name = os.path.split(path)
    with _said(f"create subvolume {path}"):
        with ioctls.opened(directory) as fd:
            ioctls.create(fd, name)
        os.chmod(path, mode)  # whatever the umask


def snapshot(source: str, path: str, *, read_only: bool) -> None:
    """Make ``path`` a snapshot of the subvolume ``source``, with what is written there on the disk."""
    directory, name = os.path.split(path)
    with (
        _said(f"snapshot subvolume {source} as {path}"),
        ioctls.opened(source) as source_fd,
        ioctls.opened(directory) as fd,
    ):
        ioctls.snapshot(source_fd, fd, name, read_only=read_only)


def info(path: str) -> ioctls.Subvolume:
    """What the file system knows of the subvolume ``path``."""
    with _said(f"look at subvolume {path}"), ioctls.opened(path) as fd:
        return ioctls.info(fd)


def is_subvolume(path: str) -> bool:
    """Whether ``path``, on a btrfs, is the root directory of a subvolume."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_ino == ROOT_INODE


def delete(path: str) -> None:
    """Delete the subvolume ``path`` with those that were made in it; fine when it is not there.

    A plain directory is deleted too: what a person copied there by hand.
    """
    directory, name = os.path.split(path)
    with _said(f"delete subvolume {path}"):
        if not is_subvolume(path):
            remove_at(libc.AT_FDCWD, path)
            return
        with ioctls.opened(directory) as fd, contextlib.suppress(FileNotFoundError):
            try:
                ioctls.destroy(fd, name)
            except OSError as exc:
                if exc.errno != errno.ENOTEMPTY:
                    raise
                # A container may make subvolumes; the kernel does not delete one that has others in it.
                with ioctls.opened(path) as top:
                    _delete_children(top)
                ioctls.destroy(fd, name)


def _delete_children(top: int) -> None:
    """Delete the subvolumes below ``top``, the innermost first. No recursion: how deep they are is the container's choice."""
    found = [(ioctls.info(top).id, 0, "")]
    for number, _, _ in found:  # grows while it is walked
        found += [(child, number, where) for child, where in _children(top, number)]
    parents = {above for _, above, _ in found[1:]}
    if len(parents) > 1:
        _make_writable(top, found, parents)
    for number, _, _ in reversed(found[1:]):
        with contextlib.suppress(FileNotFoundError):
            ioctls.destroy_by_id(top, number)


def _make_writable(top: int, found: list[tuple[int, int, str]], parents: set[int]) -> None:
    """Nothing can be deleted from a subvolume that is flagged read-only, so take the flag off those that have some in them."""
    paths = {found[0][0]: ""}
    for number, above, where in found[1:]:
        paths[number] = f"{paths[above]}{where}/"
        if number in parents:
            fd = openat2.openat2(top, paths[number], _DIRECTORY, resolve=openat2.BENEATH | openat2.NO_SYMLINKS)
            try:
                ioctls.set_writable(fd)
            finally:
                os.close(fd)


def _children(anywhere: int, number: int) -> Iterator[tuple[int, str]]:
    """The subvolumes right in subvolume ``number``, and their paths within it."""
    first, last = (number, _CHILD, 0), (number, _CHILD, _LAST)
    for (_, _, child), data in ioctls.search(anywhere, ioctls.ROOT_TREE, first, last):
        directory, _, length = _CHILD_HEAD.unpack_from(data)
        name = os.fsdecode(bytes(data[_CHILD_HEAD.size : _CHILD_HEAD.size + length]))
        yield child, ioctls.directory_path(anywhere, number, directory) + name


def usage(path: str, since: int = 0) -> Usage:
    """Bytes and inodes that the subvolume ``path`` got after transaction ``since``; 0 measures all of it.

    The file system lists what is newer, so this takes time for what has changed, not for what there is, and no quotas.
    """
    size = inodes = 0
    places: set[int] = set()
    with _said(f"measure subvolume {path}"), ioctls.opened(path) as fd:
        for (_, kind, _), data in ioctls.search(fd, 0, (ROOT_INODE, 0, 0), (_LAST - ROOT_INODE, 255, _LAST), since):
            if kind == _INODE:
                inodes += _INODE_MADE.unpack_from(data)[0] > since
            elif kind == _EXTENT:
                made, _, _, _, _, place = _EXTENT_HEAD.unpack_from(data)
                if made <= since:
                    continue
                if place == _INLINE:
                    size += len(data) - _EXTENT_HEAD.size
                    continue
                address, length = _EXTENT_PLACE.unpack_from(data, _EXTENT_HEAD.size)
                if address and address not in places:  # 0 is a hole; a shared extent counts once
                    places.add(address)
                    size += length
    return Usage(size, inodes)
