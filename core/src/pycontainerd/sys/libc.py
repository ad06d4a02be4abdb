"""Calls into the C library for what `os` has no function for. Each releases the GIL and raises OSError on failure."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYSCALL = _LIBC.syscall
_SYSCALL.restype = ctypes.c_long

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_RECURSIVE = 0x8000

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000


def check(result: int, what: str, path: str | None = None, path2: str | None = None) -> int:
    """``result`` unless it is -1; then an OSError of the right subclass that says ``what`` was called."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}", path, None, path2)
    return result


def syscall(what: str, number: int, *arguments: object, path: str | None = None) -> int:
    """System call ``number``. Integers are passed as C longs, bytes as pointers, None as NULL."""
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return check(int(_SYSCALL(ctypes.c_long(number), *converted)), what, path)


def encode(text: str | bytes | None) -> bytes | None:
    """A path or option as the C library wants it; refuses NUL, which would silently cut it."""
    if text is None:
        return None
    raw = os.fsencode(text)
    if b"\0" in raw:
        raise ValueError(f"NUL in {text!r}")
    return raw


def unshare(flags: int) -> None:
    """unshare(2) of the calling thread."""
    check(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None) -> None:
    """mount(2)."""
    result = _LIBC.mount(encode(source), encode(target), encode(fstype), ctypes.c_ulong(flags), encode(data or None))
    check(result, "mount", source, target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    check(_LIBC.umount2(encode(target), ctypes.c_int(flags)), "umount2", target)


def syncfs(fd: int) -> None:
    """syncfs(2): the whole file system ``fd`` is on."""
    check(_LIBC.syncfs(ctypes.c_int(fd)), "syncfs")


def reuse_freed_memory(limit: int) -> None:
    """Have the C library's allocator keep up to ``limit`` freed bytes for reuse; where there is no such knob, nothing.

    By default each block of some hundred kilobytes is mapped anew and unmapped after use: a page fault for every 4 KiB,
    which for messages of megabytes takes longer than to fill them.
    """
    mallopt = getattr(_LIBC, "mallopt", None)  # glibc only
    if mallopt is not None:
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(ctypes.c_int(parameter), ctypes.c_int(limit))


def ioctl(fd: int, request: int, argument: bytearray, what: str) -> None:
    """ioctl(2) with a structure, which the kernel may change. Unlike `fcntl.ioctl` it never holds the GIL."""
    buffer = (ctypes.c_char * len(argument)).from_buffer(argument)
    check(_LIBC.ioctl(ctypes.c_int(fd), ctypes.c_ulong(request), buffer), what)
