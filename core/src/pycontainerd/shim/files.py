"""Reading and writing small files in one go, which for a shim are those of its bundle, of /proc and of cgroups."""

from __future__ import annotations

import os


def read(path: str, limit: int = 1 << 20) -> bytes:
    """At most ``limit`` bytes of it.

    :raises OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while part := os.read(fd, min(limit - len(data), 1 << 16)):
            data += part
        return data
    finally:
        os.close(fd)


def read_text(path: str, limit: int = 1 << 20) -> str:
    """The same as text, whatever bytes there are."""
    return read(path, limit).decode("utf-8", "surrogateescape")


def write(path: str, text: str) -> None:
    """Write to a file that is there, as the kernel wants it: all at once.

    :raises OSError: it cannot be written.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


def write_private(path: str, data: bytes) -> None:
    """Make or replace a file that only we may read, never through a link."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)


def unlink(path: str) -> None:
    """Remove it if it is there and can be."""
    try:
        os.unlink(path)
    except OSError:
        return
