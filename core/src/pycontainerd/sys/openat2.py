"""openat2(2): opening a path without leaving a directory.

The kernel does the resolution, so there is no moment between a check and a use. ``IN_ROOT`` treats the directory as
"/" (absolute links and ``..`` stay inside), ``BENEATH`` refuses whatever would leave it.
"""

from __future__ import annotations

import ctypes
import errno
import os

from .libc import encode, syscall

_NUMBER = 437  # the same on every architecture, like all system calls from 424 on

NO_XDEV = 0x01
NO_MAGICLINKS = 0x02
NO_SYMLINKS = 0x04
BENEATH = 0x08
IN_ROOT = 0x10
CACHED = 0x20

_NAMES = {NO_XDEV: "NO_XDEV", NO_MAGICLINKS: "NO_MAGICLINKS", NO_SYMLINKS: "NO_SYMLINKS", BENEATH: "BENEATH", IN_ROOT: "IN_ROOT", CACHED: "CACHED"}  # fmt: skip
_EAGAIN_LIMIT = 128


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def openat2(dirfd: int, path: str | bytes, flags: int, *, resolve: int = IN_ROOT, mode: int = 0) -> int:
    """Open ``path`` under ``dirfd``; the descriptor is close-on-exec.

    A rename elsewhere on the system can make a scoped resolution fail with EAGAIN; it is tried again.

    :raises OSError: of the subclass for its errno, with the path and the resolve flags in the message. EXDEV: the
        path leaves the directory (``BENEATH``); ELOOP: a link that ``NO_SYMLINKS`` or ``NO_MAGICLINKS`` forbids.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    raw = encode(path)
    for _ in range(_EAGAIN_LIMIT):
        try:
            return syscall("openat2", _NUMBER, dirfd, raw, ctypes.byref(how), ctypes.sizeof(how))
        except BlockingIOError:
            continue
        except OSError as exc:
            raise _explain(exc, path, resolve) from None
    raise _explain(OSError(errno.EAGAIN, "openat2"), path, resolve)


def open_in_root(root: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """`openat2` with the directory ``root`` as ``/``: ``..``, absolute names and links stay inside."""
    return openat2(root, path, flags, mode=mode, resolve=IN_ROOT | NO_MAGICLINKS | resolve)


def _explain(exc: OSError, path: str | bytes, resolve: int) -> OSError:
    names = "|".join(name for bit, name in _NAMES.items() if resolve & bit) or "0"
    number = exc.errno or errno.EIO
    return OSError(number, f"openat2 with RESOLVE_{names}: {os.strerror(number)}", os.fsdecode(path))


def supported() -> bool:
    """True where the running kernel (5.6 or later) and its seccomp filters allow openat2."""
    try:
        os.close(openat2(-100, ".", os.O_PATH, resolve=0))
    except OSError:
        return False
    return True
