"""Disk space kept in reserve, so that on a full disk removals still work.

Even a removal needs space: SQLite writes a log before it frees anything. The ballast is a file of some size beside the
database. When the disk is full it is given back, and what frees space may use that; once there is room it is taken
again.
"""

from __future__ import annotations

import errno
import os
import threading

SIZE = 16 << 20  # bytes
_PROBE = 256 << 10  # bytes that a start needs
_CHUNK = 1 << 20


class Ballast:
    """The file ``path``, of ``size`` bytes (0: none, and the disk never counts as full here). Thread-safe.

    How much of a file system is free only trying tells: what statvfs(2) says knows nothing of quotas, nor of blocks that
    are kept for root or for the file system itself. So the disk is full from the moment a write found it so until the
    ballast, and as much again, could be taken.
    """

    def __init__(self, path: str, size: int = SIZE) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._held = size > 0 and self._whole()
        self._full = False

    @property
    def held(self) -> bool:
        return self._held

    def full(self) -> bool:
        """True while the reserve is in use."""
        return self._full

    def relieve(self) -> bool:
        """Give the reserve back if there is no space left: before a start, which needs some itself."""
        if not self._size or self._free() >= 4 * self._size:
            return False
        try:
            self._allocate(f"{self._path}.probe", _PROBE)
        except OSError:
            return self.release()
        finally:
            _unlink(f"{self._path}.probe")
        return False

    def release(self) -> bool:
        """Give the reserve back: the disk is full. True if there was one."""
        with self._lock:
            self._full = self._size > 0
            self._held = False
            return _unlink(self._path)

    def take(self) -> bool:
        """Take the reserve, where there is room for it; True if it is held now. Blocks while it is written."""
        with self._lock:
            if self._held or not self._size:
                return self._held
            if self._free() < 2 * self._size:
                return False
            try:
                self._allocate(self._path, 2 * self._size)  # as much again is left for others
                os.truncate(self._path, self._size)
            except OSError:  # there was less room than it said
                _unlink(self._path)
                return False
            self._held = True
            self._full = False
            return True

    @staticmethod
    def _allocate(path: str, size: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as exc:
                if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
            # File systems that cannot preallocate, or that compress zeros away, get something to keep.
            if os.fstat(fd).st_size != size or os.fstat(fd).st_blocks * 512 < size:
                for offset in range(0, size, _CHUNK):
                    os.pwrite(fd, os.urandom(min(_CHUNK, size - offset)), offset)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _whole(self) -> bool:
        try:
            return os.stat(self._path).st_size == self._size
        except OSError:
            return False

    def _free(self) -> int:
        status = os.statvfs(os.path.dirname(self._path) or ".")
        return status.f_frsize * status.f_bfree


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
