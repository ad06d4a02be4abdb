"""Applying a layer to a directory (OCI image-spec layer.md), safe against whatever the layer holds.

Every path is resolved by openat2 with the root as ``/``: neither ``..`` nor absolute names nor links, old or new, lead
out. The last component is only ever used together with the descriptor of its resolved directory and never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable

from pycontainerd.contracts.errors import ContainerdError, InvalidArgument, NotFound, ResourceExhausted
from pycontainerd.sys.tree import remove_at

from .attributes import set_at, set_on, set_times
from .directories import DIRECTORY, Directories
from .limits import Limits
from .tar_header import CHARACTER, FIFO, LINK, REGULAR, SYMLINK, Entry
from .tar_header import DIRECTORY as DIRECTORY_ENTRY
from .tar_reader import TarReader
from .whiteouts import OPAQUE, WHITEOUT, hidden

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_OWNER = 0xFFFFFFFF  # to chown(2) it means: leave the owner as it is


def apply(
    root: str,
    chunks: Iterable[bytes],
    limits: Limits | None = None,
    *,
    skip_devices: bool = False,
    whiteouts: bool = True,
) -> None:
    """Apply the tar in ``chunks`` to the directory ``root``, and read the chunks to their end.

    With ``skip_devices`` device nodes are left out (a user namespace cannot make them). Without ``whiteouts`` names that look
    like some are names like others.

    :raises DataLoss: the archive is malformed or truncated.
    :raises InvalidArgument: an entry cannot be what it says, such as a whiteout of ``..``.
    :raises ResourceExhausted: a limit is exceeded, or the disk is full.
    """
    limits = limits or Limits()
    fd = os.open(root, DIRECTORY | os.O_CLOEXEC)
    try:
        reader = TarReader(chunks, limits)
        applier = _Applier(fd, reader, limits, skip_devices, whiteouts)
        try:
            while (entry := reader.next()) is not None:
                try:
                    applier.one(entry)
                except (OSError, ValueError, OverflowError) as exc:
                    raise _explained(exc, entry) from exc
            applier.finish()
        finally:
            applier.close()
        reader.drain()
    finally:
        os.close(fd)


def clean(name: bytes, limits: Limits) -> list[bytes]:
    """The components of an archive's path, ``..`` resolved within the root.

    :raises InvalidArgument: it is too long or nested too deep.
    """
    if len(name) > limits.max_path:
        raise limits.exceeded("max_path", len(name), f"path {name[:64].decode(errors='replace')!r}…")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if parts:
                parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    if len(parts) > limits.max_depth:
        raise limits.exceeded("max_depth", len(parts), f"path {name[:64].decode(errors='replace')!r}…")
    return parts


class _Applier:
    def __init__(self, root: int, reader: TarReader, limits: Limits, skip_devices: bool, whiteouts: bool) -> None:
        self._root = root
        self._reader = reader
        self._limits = limits
        self._skip_devices = skip_devices
        self._whiteouts = whiteouts
        self._directories = Directories(root)
        self._times: dict[bytes, tuple[int, int]] = {}
        # What this layer has put down, directories above included: its own whiteouts do not take that away.
        self._unpacked: set[bytes] = set()
        self._cleared: set[bytes] = set()

    def one(self, entry: Entry) -> None:
        if entry.uid == _NO_OWNER or entry.gid == _NO_OWNER:
            raise InvalidArgument(f"{entry}: owner out of range")
        parts = clean(entry.name, self._limits)
        if not parts:
            if entry.kind == DIRECTORY_ENTRY:
                set_on(self._root, entry)
                self._times[b"."] = (max(entry.atime, entry.mtime), entry.mtime)
            return
        name = parts.pop()
        directory = b"/".join(parts)
        if self._whiteouts and name.startswith(WHITEOUT):
            self._whiteout(directory, name)
            return
        path = directory + b"/" + name if directory else name
        self._make(entry, self._directories.get(directory), name, path)
        while path and path not in self._unpacked:
            self._unpacked.add(path)
            path = path.rpartition(b"/")[0]

    def finish(self) -> None:
        """Directory times, last: everything put into a directory changed them."""
        for path, times in self._times.items():
            if (fd := self._directories.open_no_follow(path)) is not None:
                try:
                    os.utime(fd, ns=times)
                finally:
                    os.close(fd)

    def close(self) -> None:
        self._directories.forget()

    def _make(self, entry: Entry, parent: int, name: bytes, path: bytes) -> None:
        kind = entry.kind
        if kind == REGULAR:
            self._file(entry, parent, name)
        elif kind == DIRECTORY_ENTRY:
            self._make_directory(entry, parent, name, path)
        elif kind == SYMLINK:
            self._replacing(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent))
            set_at(parent, name, entry)
        elif kind == LINK:
            self._link(entry, parent, name)
        elif kind == FIFO or not self._skip_devices:
            self._replacing(parent, name, lambda: _mknod(entry, parent, name))
            set_at(parent, name, entry)

    def _file(self, entry: Entry, parent: int, name: bytes) -> None:
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=parent)
        except FileExistsError:
            self._remove(parent, name)
            fd = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            if entry.sparse is not None:
                self._sparse(fd, entry)
            elif entry.size:
                for view in self._reader.data():
                    _write(fd, view)
            set_on(fd, entry)
            set_times(fd, entry)
        finally:
            os.close(fd)

    def _sparse(self, fd: int, entry: Entry) -> None:
        """Put each region where it belongs; what is between them stays a hole."""
        os.ftruncate(fd, entry.real_size)
        regions = iter([region for region in entry.sparse or () if region[1]])
        left = 0
        for view in self._reader.data():
            rest = view
            while rest:
                if not left:
                    offset, left = next(regions)
                    os.lseek(fd, offset, os.SEEK_SET)
                _write(fd, rest[:left])
                taken = min(left, len(rest))
                left -= taken
                rest = rest[taken:]

    def _make_directory(self, entry: Entry, parent: int, name: bytes, path: bytes) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                self._remove(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            set_on(fd, entry)
        finally:
            os.close(fd)
        self._times[path] = (max(entry.atime, entry.mtime), entry.mtime)

    def _link(self, entry: Entry, parent: int, name: bytes) -> None:
        target = clean(entry.link, self._limits)
        if not target:
            raise InvalidArgument(f"{entry} is a hard link to the root directory")
        # The directories of both may be cached ones that making room for the link closes: hold copies.
        destination = os.dup(parent)
        try:
            source = os.dup(self._directories.get(b"/".join(target[:-1]), create=False))
            try:
                self._replacing(
                    destination,
                    name,
                    lambda: os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=destination, follow_symlinks=False),
                )
            finally:
                os.close(source)
        finally:
            os.close(destination)

    def _replacing(self, parent: int, name: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._remove(parent, name)
            make()

    def _whiteout(self, directory: bytes, name: bytes) -> None:
        target = hidden(name)
        if target is None:
            return
        try:
            parent = self._directories.get(directory, create=False)
        except NotFound:
            return  # nothing there to hide
        if name == OPAQUE:
            self._clear(directory)
        elif (directory + b"/" + target if directory else target) not in self._unpacked:
            self._remove(parent, target)

    def _clear(self, directory: bytes) -> None:
        """Remove what lies in ``directory`` and is not of this layer.

        What has been cleared once holds only this layer's entries, so it is not looked at again: a layer cannot make
        this slow by repeating itself.
        """
        pending = [directory]
        while pending:
            path = pending.pop()
            if path in self._cleared:
                continue
            self._cleared.add(path)
            if path == directory:
                fd: int | None = os.dup(self._directories.get(path, create=False))
            else:
                fd = self._directories.open_no_follow(path)
            if fd is None:
                continue
            try:
                for child in map(os.fsencode, os.listdir(fd)):
                    below = path + b"/" + child if path else child
                    if below not in self._unpacked:
                        self._remove(fd, child)
                    elif stat.S_ISDIR(os.lstat(child, dir_fd=fd).st_mode):
                        pending.append(below)
            finally:
                os.close(fd)

    def _remove(self, parent: int, name: bytes) -> None:
        try:
            mode = os.lstat(name, dir_fd=parent).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            remove_at(parent, name)
        else:
            os.unlink(name, dir_fd=parent)
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self._directories.forget(keep=parent)  # it may have been part of resolved paths


def _mknod(entry: Entry, parent: int, name: bytes) -> None:
    if entry.kind == FIFO:
        os.mkfifo(name, 0o600, dir_fd=parent)
        return
    kind = stat.S_IFCHR if entry.kind == CHARACTER else stat.S_IFBLK
    os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)


def _write(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


def _explained(exc: Exception, entry: Entry) -> ContainerdError:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
        return ResourceExhausted(f"cannot apply {entry}: {reason}", hint="free some disk space")
    return InvalidArgument(f"cannot apply {entry}: {reason}")
