"""Users and groups of an image, looked up in its root file system.

The files are the image's, so nothing in them is trusted: they are opened so that no link leads out of the root, must be
regular files, and are read up to a limit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import attrs

from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.sys.openat2 import open_in_root

MAX_FILE = 4 << 20  # bytes of passwd or group
MAX_ID = (1 << 31) - 1
_PASSWD_FIELDS = 4
_GROUP_FIELDS = 4


@attrs.frozen
class Ids:
    """What a process runs as."""

    uid: int = 0
    gid: int = 0
    additional: tuple[int, ...] = ()


def _lines(root: str, path: str) -> Iterator[list[str]]:
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            # Not blocking: a FIFO in place of the file must not hold us up.
            fd = open_in_root(directory, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return
    finally:
        os.close(directory)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidArgument(f"{path} of the image is not a regular file")
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise InvalidArgument(f"{path} of the image is larger than {MAX_FILE} bytes")
    for line in data.decode(errors="replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip().split(":")


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    value = int(text)
    return value if value <= MAX_ID else None


def _passwd(root: str) -> Iterator[tuple[str, int, int]]:
    for fields in _lines(root, "etc/passwd"):
        if len(fields) >= _PASSWD_FIELDS:
            uid, gid = _number(fields[2]), _number(fields[3])
            if uid is not None and gid is not None:
                yield fields[0], uid, gid


def _groups(root: str) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(root, "etc/group"):
        if len(fields) >= _GROUP_FIELDS and (gid := _number(fields[2])) is not None:
            yield fields[0], gid, [name.strip() for name in fields[3].split(",")]


def lookup(root: str, user: str) -> Ids:
    """The ids of ``USER[:GROUP]`` (names or numbers, "" is root) in the root file system at ``root``.

    A number needs no entry. Without GROUP it is the user's of passwd (0 where there is none), and the additional groups
    are the primary one, then those that list the user; with GROUP only that.

    :raises NotFound: a name is in no file.
    :raises InvalidArgument: it is not of that form, or a file is not what it should be.
    """
    name, colon, group = user.partition(":")
    if ":" in group or (colon and not group):
        raise InvalidArgument(f"user {user!r} is not of the form USER[:GROUP]")
    login, uid, gid = _user(root, name or "root")
    if group:
        gid = _group(root, group)
        return Ids(uid, gid, (gid,))
    return Ids(uid, gid, _additional(root, login, gid))


def _user(root: str, name: str) -> tuple[str, int, int]:
    number = _number(name)
    for login, uid, gid in _passwd(root):
        if name == login or number == uid:
            return login, uid, gid
    if number is None:
        if name == "root":
            return "root", 0, 0
        raise NotFound(f"user {name!r}: not in /etc/passwd of the image", hint="give a number instead")
    return "", number, 0


def _group(root: str, name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for known, gid, _ in _groups(root):
        if known == name:
            return gid
    raise NotFound(f"group {name!r}: not in /etc/group of the image", hint="give a number instead")


def _additional(root: str, login: str, gid: int) -> tuple[int, ...]:
    listed = [other for _, other, members in _groups(root) if login and login in members]
    return (gid, *sorted(set(listed) - {gid}))
