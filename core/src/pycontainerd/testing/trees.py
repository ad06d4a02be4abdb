"""What a directory tree is, in every respect that a copy of it should keep."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any


def describe(root: str) -> dict[str, dict[str, Any]]:
    """Each path below ``root`` ("." is ``root``) with its kind, owner, mode, times, attributes, data and links."""
    links: dict[tuple[int, int], str] = {}
    found = {}
    for where, directories, files in os.walk(root):
        directories.sort()
        for name in ["", *sorted({*directories, *files})]:
            path = os.path.join(where, name) if name else where
            found[os.path.relpath(path, root)] = _one(path, root, links)
    return found


def _one(path: str, root: str, links: dict[tuple[int, int], str]) -> dict[str, Any]:
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    said: dict[str, Any] = {
        "mode": oct(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "modified": status.st_mtime_ns,
        "attributes": {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        },
    }
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            said["data"] = (status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
        said["same as"] = links.setdefault((status.st_dev, status.st_ino), os.path.relpath(path, root))
    elif kind == stat.S_IFLNK:
        said["target"] = os.readlink(path)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        said["device"] = status.st_rdev
    return said
