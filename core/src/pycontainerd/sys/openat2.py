"""openat2(2): opening paths that cannot lead out of a directory."""

from __future__ import annotations

import ctypes
import os

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
_NR_OPENAT2 = 437  # the same on every architecture

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` as if the directory ``root`` (a descriptor) were ``/``: ``..``, absolute names and links stay inside.

    :raises OSError: as open(2); ENOSYS on kernels before 5.6.
    """
    how = _How(flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)
    for _ in range(128):
        fd = _syscall(_NR_OPENAT2, root, path.encode(errors="surrogateescape"), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number != 11:  # EAGAIN: something was renamed while the path was resolved
            break
    raise OSError(number, os.strerror(number), path)
