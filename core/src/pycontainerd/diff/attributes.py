"""Owner, mode, extended attributes and times of what a layer puts down."""

from __future__ import annotations

import errno
import os

from .tar_header import SYMLINK, Entry

# The marks that overlayfs keeps in attributes: a layer that brought some would change what the mount shows.
OVERLAY_MARKS = ("trusted.overlay.", "user.overlay.")


def set_on(fd: int, entry: Entry) -> None:
    """Owner, mode and extended attributes, in the order that keeps set-uid bits and capabilities."""
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    if entry.xattrs:
        for key, value in entry.xattrs.items():
            if not key.startswith(OVERLAY_MARKS):
                _set_xattr(fd, key, value, follow=True)


def set_times(fd: int, entry: Entry) -> None:
    mtime = entry.mtime
    os.utime(fd, ns=(max(mtime, entry.atime), mtime))


def set_at(parent: int, name: bytes, entry: Entry) -> None:
    """All of it on what is no file or directory: ``name`` in ``parent``, which was made just now."""
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    if entry.kind != SYMLINK:
        os.chmod(name, entry.mode, dir_fd=parent)
    for key, value in (entry.xattrs or {}).items():
        if not key.startswith(OVERLAY_MARKS):
            _set_xattr(b"/proc/self/fd/%d/%b" % (parent, name), key, value, follow=False)
    times = (max(entry.atime, entry.mtime), entry.mtime)
    os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)


def _set_xattr(target: int | bytes, key: str, value: bytes, *, follow: bool) -> None:
    try:
        os.setxattr(target, key, value, follow_symlinks=follow)
    except OSError as exc:
        # A file system without that class of attribute; links and devices can have no user attributes.
        if exc.errno != errno.EOPNOTSUPP and (follow or exc.errno != errno.EPERM):
            raise
