"""Files that survive a power cut."""

from __future__ import annotations

import os

from .libc import syncfs

__all__ = ["fsync_dir", "syncfs", "write_atomic"]


def fsync_dir(path: str) -> None:
    """Make the entries of directory ``path`` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: str, data: bytes, mode: int = 0o644, *, sync: bool = True) -> None:
    """Put ``data`` at ``path`` so that a reader sees the old content or the new, never half."""
    aside = f"{path}.new.{os.getpid()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if sync:
            os.fsync(fd)
    except BaseException:
        os.unlink(aside)
        raise
    finally:
        os.close(fd)
    os.rename(aside, path)
    if sync:
        fsync_dir(os.path.dirname(path))
