"""Directories of a root, kept open for the entries that follow."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict

from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.sys.openat2 import open_in_root

from .whiteouts import WHITEOUT

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_OPEN = 128
_MAX_LINKS = 40  # as in the kernel


class Directories:
    """Every path is resolved inside ``root``, whatever links are on the way."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def get(self, path: bytes, *, create: bool = True) -> int:
        """A descriptor of the directory ``path``, valid until the next call.

        :raises NotFound: it is not there and not to be created.
        """
        return self._get(path, create, _MAX_LINKS)

    def open_no_follow(self, path: bytes) -> int | None:
        """A new descriptor of ``path`` where it is a directory itself; None where it is something else by now."""
        try:
            return open_in_root(self._root, path, DIRECTORY | os.O_NOFOLLOW)
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    def forget(self, keep: int = -1) -> None:
        """Close what is open, but ``keep``: paths may lead elsewhere now."""
        for path in [path for path, fd in self._open.items() if fd != keep]:
            os.close(self._open.pop(path))

    def _get(self, path: bytes, create: bool, links: int) -> int:
        if not path:
            return self._root
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        try:
            fd = open_in_root(self._root, path, DIRECTORY)
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise
            if not create:
                raise NotFound(f"{path.decode(errors='replace')}: no such directory in the root file system") from None
            fd = self._create(path, links)
        self._open[path] = fd
        if len(self._open) > _OPEN:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def _create(self, path: bytes, links: int) -> int:
        """The directory ``path``, which the layer does not list but uses, and those above it."""
        missing = [path]
        above = path.rpartition(b"/")[0]
        while above:
            try:
                parent = os.dup(self._get(above, create=False, links=links))
                break
            except NotFound:
                missing.append(above)
                above = above.rpartition(b"/")[0]
        else:
            parent = os.dup(self._root)
        try:
            for where in reversed(missing):
                child = self._enter(parent, where, links)
                os.close(parent)
                parent = child
            return parent
        except BaseException:
            os.close(parent)
            raise

    def _enter(self, parent: int, path: bytes, links: int) -> int:
        """Make ``path`` in the directory ``parent`` and open it; a link to nowhere gets what it points to."""
        above, _, name = path.rpartition(b"/")
        if name.startswith(WHITEOUT):
            raise InvalidArgument(f"{path.decode(errors='replace')!r} is a whiteout and cannot be a directory")
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode):
                if not links:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
                target = os.readlink(name, dir_fd=parent)
                return os.dup(self._get(_joined(above, target), create=True, links=links - 1))
        return os.open(name, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _joined(directory: bytes, target: bytes) -> bytes:
    """Where a link in ``directory`` leads, as a path without ``..``."""
    parts: list[bytes] = []
    for part in (target if target.startswith(b"/") else directory + b"/" + target).split(b"/"):
        if part == b"..":
            parts = parts[:-1]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)
