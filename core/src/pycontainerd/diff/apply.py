"""Applying a layer to a directory (OCI image-spec layer.md), safe against whatever the layer holds.

Every path is resolved by openat2 with the root as ``/``: neither ``..`` nor absolute names nor links, old or new, lead
out. The last component is only ever used together with the descriptor of its resolved directory and never followed.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import OrderedDict

from pycontainerd.contracts.errors import InvalidArgument, NotFound, ResourceExhausted
from pycontainerd.sys.openat2 import open_in_root

from . import tar

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
META = ".wh..wh."
MAX_DEPTH = 512  # directories above an entry
MAX_BYTES = 1 << 40  # inflated bytes of one layer
OPEN_DIRECTORIES = 128
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def apply(root: str, stream: tar.Stream) -> int:
    """Apply the tar in ``stream`` to the directory ``root``; returns the bytes of file data written.

    :raises InvalidArgument: an entry cannot be what it says, such as a whiteout of ``..``.
    :raises ResourceExhausted: a limit is exceeded.
    """
    fd = os.open(root, _DIRECTORY | os.O_CLOEXEC)
    try:
        applier = _Applier(fd, stream)
        try:
            for entry in tar.entries(stream):
                try:
                    applier.one(entry)
                except OSError as exc:
                    raise _explained(exc, entry) from exc
            applier.finish()
        finally:
            applier.close()
        stream.drain()
        return applier.written
    finally:
        os.close(fd)


def clean(name: str) -> list[str]:
    """The components of an archive's path, ``..`` resolved within the root.

    :raises InvalidArgument: it is nested too deep.
    """
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if len(parts) > MAX_DEPTH:
        raise InvalidArgument(f"{name[:64]!r}… is nested {len(parts)} deep, the limit is {MAX_DEPTH}")
    return parts


class _Applier:
    def __init__(self, root: int, stream: tar.Stream) -> None:
        self._root = root
        self._stream = stream
        self._open: OrderedDict[str, int] = OrderedDict()
        self._times: list[tuple[str, int]] = []
        # What this layer has put down, directories above included: its own whiteouts do not take that away.
        self._unpacked: set[str] = set()
        self.written = 0

    def one(self, entry: tar.Entry) -> None:
        parts = clean(entry.name)
        if not parts:
            if entry.type == tar.DIRECTORY:
                self._attributes(self._root, entry)
                self._times.append((".", entry.mtime))
            return
        name = parts.pop()
        directory = "/".join(parts)
        if name.startswith(WHITEOUT):
            self._whiteout(directory, name)
            return
        parent = self._directory(directory, create=True)
        path = f"{directory}/{name}" if directory else name
        self._make(entry, parent, name, path)
        self._remember(path)

    def finish(self) -> None:
        """Directory times, last: everything put into a directory changed them."""
        for path, mtime in reversed(self._times):
            try:
                fd = open_in_root(self._root, path, _DIRECTORY | os.O_NOFOLLOW)
            except OSError as exc:
                if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # replaced by a later entry
                raise
            try:
                os.utime(fd, ns=(mtime, mtime))
            finally:
                os.close(fd)

    def close(self) -> None:
        self._forget_directories()

    def _make(self, entry: tar.Entry, parent: int, name: str, path: str) -> None:
        if entry.type == tar.REGULAR:
            self._file(entry, parent, name)
        elif entry.type == tar.DIRECTORY:
            self._make_directory(entry, parent, name, path)
        elif entry.type == tar.SYMLINK:
            self._replacing(parent, name, lambda: os.symlink(entry.linkname, name, dir_fd=parent))
            self._node_attributes(entry, parent, name)
        elif entry.type == tar.LINK:
            self._link(entry, parent, name)
        else:
            self._replacing(parent, name, lambda: self._mknod(entry, parent, name))
            self._node_attributes(entry, parent, name)

    def _file(self, entry: tar.Entry, parent: int, name: str) -> None:
        self.written += entry.size
        if self.written > MAX_BYTES:
            raise ResourceExhausted(f"the layer inflates to more than {MAX_BYTES} bytes")
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=parent)
        except FileExistsError:
            self._remove(parent, name)
            fd = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            for piece in self._stream.pieces(entry.size):
                view = piece
                while view:
                    view = view[os.write(fd, view) :]
            self._attributes(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _make_directory(self, entry: tar.Entry, parent: int, name: str, path: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                self._remove(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            self._attributes(fd, entry)
        finally:
            os.close(fd)
        self._times.append((path, entry.mtime))

    def _link(self, entry: tar.Entry, parent: int, name: str) -> None:
        target = clean(entry.linkname)
        if not target:
            raise InvalidArgument(f"{entry.name!r} is a hard link to the root directory")
        source = self._directory("/".join(target[:-1]), create=False)
        # The directory of the target may be the cached one that making room for the link closes: hold a copy.
        held = os.dup(source)
        try:
            self._replacing(
                parent,
                name,
                lambda: os.link(target[-1], name, src_dir_fd=held, dst_dir_fd=parent, follow_symlinks=False),
            )
        finally:
            os.close(held)

    @staticmethod
    def _mknod(entry: tar.Entry, parent: int, name: str) -> None:
        kinds = {tar.CHAR: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
        device = os.makedev(entry.major, entry.minor) if entry.type != tar.FIFO else 0
        os.mknod(name, kinds[entry.type] | 0o600, device, dir_fd=parent)

    def _replacing(self, parent: int, name: str, make: object) -> None:
        assert callable(make)
        try:
            make()
        except FileExistsError:
            self._remove(parent, name)
            make()

    def _attributes(self, fd: int, entry: tar.Entry) -> None:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)  # after chown, which clears setuid
        for key, value in entry.xattrs.items():
            _setxattr(fd, key, value)

    @staticmethod
    def _node_attributes(entry: tar.Entry, parent: int, name: str) -> None:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.type != tar.SYMLINK:
            # It is no link (it was made just now, with O_EXCL semantics), so following is not possible.
            os.chmod(name, entry.mode, dir_fd=parent)
        for key, value in entry.xattrs.items():
            _setxattr_at(parent, name, key, value)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _whiteout(self, directory: str, name: str) -> None:
        if name != OPAQUE and name.startswith(META):
            return  # bookkeeping of aufs, which has no meaning in a layer
        target = name.removeprefix(WHITEOUT)
        if name != OPAQUE and target in ("", ".", ".."):
            raise InvalidArgument(f"{name!r} in {directory or '/'} is not a whiteout of anything")
        try:
            parent = self._directory(directory, create=False)
        except NotFound:
            return  # nothing there to hide
        if name == OPAQUE:
            self._clear(os.dup(parent), directory)
        elif (f"{directory}/{target}" if directory else target) not in self._unpacked:
            self._remove(parent, target)

    def _clear(self, fd: int, directory: str) -> None:
        """Remove what lies in ``directory`` and is not of this layer; closes ``fd``."""
        try:
            for name in os.listdir(fd):
                path = f"{directory}/{name}" if directory else name
                if path not in self._unpacked:
                    self._remove(fd, name)
                elif stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                    self._clear(os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd), path)
        finally:
            os.close(fd)

    def _remove(self, parent: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            shutil.rmtree(name, dir_fd=parent)
        # Links and directories that are gone may have been part of resolved paths.
        self._forget_directories(keep=parent)

    def _directory(self, path: str, *, create: bool) -> int:
        """A descriptor of the directory ``path``, resolved in the root; kept open for the entries that follow."""
        if not path:
            return self._root
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        try:
            fd = open_in_root(self._root, path, _DIRECTORY)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise
            if not create:
                raise NotFound(f"{path}: no such directory in the root file system") from None
            fd = self._create_directories(path)
        self._open[path] = fd
        if len(self._open) > OPEN_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def _create_directories(self, path: str) -> int:
        """Directories that the layer does not list but uses."""
        above, _, name = path.rpartition("/")
        parent = os.dup(self._directory(above, create=True))
        try:
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
            except FileExistsError:
                # A link to nowhere: what the layer wants below it cannot be.
                self._remove(parent, name)
                os.mkdir(name, 0o755, dir_fd=parent)
            return os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)

    def _forget_directories(self, keep: int = -1) -> None:
        for path in [path for path, fd in self._open.items() if fd != keep]:
            os.close(self._open.pop(path))

    def _remember(self, path: str) -> None:
        while path and path not in self._unpacked:
            self._unpacked.add(path)
            path = path.rpartition("/")[0]


def _setxattr(fd: int, key: str, value: bytes) -> None:
    try:
        os.setxattr(fd, key, value)
    except OSError as exc:
        if exc.errno != errno.EOPNOTSUPP:  # a file system without that class of attribute
            raise


def _setxattr_at(parent: int, name: str, key: str, value: bytes) -> None:
    try:
        os.setxattr(f"/proc/self/fd/{parent}/{name}", key, value, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EPERM):
            raise


def _explained(exc: OSError, entry: tar.Entry) -> Exception:
    what = f"cannot apply {entry.name!r}: {exc.strerror or exc}"
    if exc.errno == errno.ENOSPC:
        return ResourceExhausted(what, hint="free some disk space")
    return InvalidArgument(what)
