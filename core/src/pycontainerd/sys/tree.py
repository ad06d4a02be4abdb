"""Directory trees: how much they take, and copies that keep everything."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from pycontainerd.contracts.snapshots import Usage

from . import openat2

_CHUNK = 1 << 20
_SUBDIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def disk_usage(path: str) -> Usage:
    """Allocated bytes and inodes of the tree at ``path``; a hard-linked file counts once."""
    size, seen = 0, set()
    pending = [path]
    while pending:
        current = pending.pop()
        status = os.lstat(current)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        size += status.st_blocks * 512
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(current) as entries:
                pending.extend(entry.path for entry in entries)
    return Usage(size, len(seen))


def copy_tree(source: str, target: str) -> None:
    """Copy the tree at ``source`` into the directory ``target``.

    Modes, owners, times, extended attributes, hard links, holes and device nodes are kept.
    """
    links: dict[tuple[int, int], str] = {}
    directories: list[tuple[str, str]] = [(source, target)]
    for from_dir, to_dir in directories:  # grows while it is walked
        with os.scandir(from_dir) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                to = os.path.join(to_dir, entry.name)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(to, 0o700)
                    directories.append((entry.path, to))
                    continue
                known = links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
                if known is not None:
                    os.link(known, to, follow_symlinks=False)
                    continue
                if status.st_nlink > 1:
                    links[status.st_dev, status.st_ino] = to
                _copy_node(entry.path, to, status)
                copy_attributes(entry.path, to, status)
    # Last, and the deepest first: filling a directory changes its times.
    for from_dir, to_dir in reversed(directories):
        copy_attributes(from_dir, to_dir, os.lstat(from_dir))


def _copy_node(source: str, target: str, status: os.stat_result) -> None:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        _copy_file(source, target, status.st_size)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISSOCK(mode):
        os.mknod(target, stat.S_IFSOCK | 0o600)
    else:
        os.mknod(target, stat.S_IFMT(mode) | 0o600, status.st_rdev)


def _copy_file(source: str, target: str, size: int) -> None:
    """Copy the data, hole by hole; copy_file_range(2) shares extents where the file system can."""
    from_fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        to_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(to_fd, size)
            at = 0
            while at < size:
                try:
                    at = os.lseek(from_fd, at, os.SEEK_DATA)
                except OSError as exc:
                    if exc.errno == errno.ENXIO:
                        return  # only a hole is left
                    raise
                end = os.lseek(from_fd, at, os.SEEK_HOLE)
                at = _copy_range(from_fd, to_fd, at, end)
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)


def _copy_range(from_fd: int, to_fd: int, at: int, end: int) -> int:
    while at < end:
        try:
            copied = os.copy_file_range(from_fd, to_fd, end - at, at, at)
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            copied = os.pwrite(to_fd, os.pread(from_fd, min(_CHUNK, end - at), at), at)
        if copied == 0:
            return end
        at += copied
    return at


def copy_attributes(source: str, target: str, status: os.stat_result) -> None:
    """Owner, extended attributes, mode and times of ``source`` (whose lstat is ``status``) for ``target``."""
    os.lchown(target, status.st_uid, status.st_gid)
    for name in os.listxattr(source, follow_symlinks=False):
        value = os.getxattr(source, name, follow_symlinks=False)
        with contextlib.suppress(OSError):  # the file system here may not take this class of attribute
            os.setxattr(target, name, value, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def remove_at(dirfd: int, name: str | bytes) -> None:
    """Delete ``name`` in the directory ``dirfd``, with all below it; fine when it is not there.

    Links are never followed, and no mount point is entered: nothing that is mounted below is deleted through.
    No recursion and two descriptors at most, so the depth of the tree does not matter.

    :raises OSError: EBUSY or EXDEV where something is mounted; what was deleted before that is gone.
    """
    try:
        os.unlink(name, dir_fd=dirfd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass  # unlink of a directory is EISDIR here, EPERM by POSIX
    directory, last = os.path.split(os.fsencode(name))
    parent = os.open(directory or b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dirfd)
    try:
        if _is_left(parent, last):
            _empty(_enter(parent, last))
            os.rmdir(last, dir_fd=parent)
    finally:
        os.close(parent)


def _enter(parent: int, name: bytes) -> int:
    """Open the directory ``name`` in ``parent``, if nothing is mounted there."""
    return openat2.openat2(parent, name, _SUBDIRECTORY, resolve=openat2.NO_XDEV | openat2.BENEATH)


def _is_left(parent: int, name: bytes) -> bool:
    """Delete the directory ``name`` if it is empty. False when it is gone."""
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    except OSError as exc:
        if exc.errno == errno.ENOTEMPTY:
            return True
        raise
    return False


def _empty(current: int) -> None:
    """Delete everything in the directory ``current``, and close it.

    Each directory is listed once, so the time is linear in what there is.
    """
    above: list[tuple[bytes, int, int, list[bytes]]] = []
    try:
        names = _names(current)
        while True:
            below = _delete_files(current, names)
            if below is not None:
                status = os.fstat(current)
                child = _enter(current, below)
                above.append((below, status.st_dev, status.st_ino, names))
                os.close(current)
                current = child
                names = _names(current)
            elif above:
                name, device, inode, names = above.pop()
                parent = os.open("..", _SUBDIRECTORY, dir_fd=current)
                os.close(current)
                current = parent
                status = os.fstat(current)
                if (status.st_dev, status.st_ino) != (device, inode):
                    raise OSError(errno.EBUSY, "a directory was moved while it was being removed", os.fsdecode(name))
                os.rmdir(name, dir_fd=current)
            else:
                return
    finally:
        os.close(current)


def _names(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]


def _delete_files(fd: int, names: list[bytes]) -> bytes | None:
    """Delete ``names``, and take them off the list, up to a directory that is not empty; its name, or None."""
    while names:
        name = names.pop()
        try:
            os.unlink(name, dir_fd=fd)
            continue
        except FileNotFoundError:
            continue
        except (IsADirectoryError, PermissionError):
            pass
        if _is_left(fd, name):
            return name
    return None
