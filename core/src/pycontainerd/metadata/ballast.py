"""Disk space kept in reserve, so that on a full disk removals still work.

Even a removal needs space: SQLite writes a log before it frees anything. The ballast is a file of some size beside the
database. When the disk is full it is given back, and what frees space may use that; once there is room it is taken
again.
"""

from __future__ import annotations

import contextlib
import os
import threading

SIZE = 16 << 20  # bytes
_ROOM = 2  # below this many times its size the disk counts as full
_CHUNK = 1 << 20


class Ballast:
    """The file ``path``, of ``size`` bytes (0: none, and the disk never counts as full here). Thread-safe."""

    def __init__(self, path: str, size: int = SIZE) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._held = size > 0 and self._whole()

    @property
    def held(self) -> bool:
        return self._held

    def full(self) -> bool:
        """True while the reserve is in use and the disk has no room to take it again."""
        return bool(self._size) and not self._held and self._free() < _ROOM * self._size

    def relieve(self) -> bool:
        """Give the reserve back if there is hardly any space left: before a start, which needs some itself."""
        return self._free() < self._size // 4 and self.release()

    def release(self) -> bool:
        """Give the reserve back; True if there was one."""
        with self._lock:
            self._held = False
            try:
                os.unlink(self._path)
            except OSError:
                return False
            return True

    def take(self) -> bool:
        """Take the reserve, where there is room for it; True if it is held now. Blocks while it is written."""
        with self._lock:
            if self._held or not self._size:
                return self._held
            if self._free() < (_ROOM + 1) * self._size:
                return False
            try:
                self._fill()
            except OSError:  # there was less room than it said, or a quota
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
                return False
            self._held = True
            return True

    def _fill(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with contextlib.suppress(OSError):
                os.posix_fallocate(fd, 0, self._size)
            # File systems that cannot preallocate, or that compress zeros away, get something to keep.
            if os.fstat(fd).st_size != self._size or os.fstat(fd).st_blocks * 512 < self._size:
                for offset in range(0, self._size, _CHUNK):
                    os.pwrite(fd, os.urandom(min(_CHUNK, self._size - offset)), offset)
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
        # Root may use the blocks that ext4 keeps for it.
        return status.f_frsize * (status.f_bfree if os.geteuid() == 0 else status.f_bavail)
