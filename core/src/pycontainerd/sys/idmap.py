"""ID-mapped mounts (mount_setattr(2), Linux 5.12): files show other owners through them than they have on the disk.

A mapping is written as containerd writes it in labels and mount options: ``container:host:size``, several with commas.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import attrs

from pycontainerd.contracts.errors import InvalidArgument, Unavailable

from . import libc, mountapi

_IDS = 1 << 32
_MAX_RANGES = 340  # the kernel's limit
_KEPT = 16
_PATIENCE = 10.0  # seconds
# A process in a namespace of its own that answers once it is there, and lives until its input ends.
_ECHO = "import ctypes,os;ctypes.CDLL(None).unshare(0x10000000) and os._exit(1);os.write(1,os.read(0,1));os.read(0,1)"
_HELPERS: Sequence[Sequence[str]] = (("unshare", "--user", "cat"), (sys.executable, "-I", "-S", "-c", _ECHO))


@attrs.frozen
class Range:
    """``size`` ids from ``container`` on are those from ``host`` on."""

    container: int
    host: int
    size: int


@attrs.frozen
class IdMap:
    """The user and group ids of a user namespace."""

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]

    def root(self) -> tuple[int, int]:
        """The user and group on the host that are 0 in the namespace.

        :raises InvalidArgument: nobody is.
        """
        return _host_of(self.uids, "user"), _host_of(self.gids, "group")


def parse(uids: str, gids: str) -> IdMap:
    """A mapping from both its texts.

    :raises InvalidArgument: one is missing or malformed, or ranges overlap or leave the 32 bits that ids have.
    """
    return IdMap(_ranges(uids, "user"), _ranges(gids, "group"))


def _ranges(text: str, what: str) -> tuple[Range, ...]:
    parts = text.split(",") if text else []
    if not parts or len(parts) > _MAX_RANGES:
        raise InvalidArgument(f"{what} id mapping {text[:80]!r}: there must be 1 to {_MAX_RANGES} ranges")
    found = []
    for part in parts:
        numbers = part.split(":")
        if len(numbers) != 3 or not all(n.isascii() and n.isdecimal() and len(n) <= 10 for n in numbers):
            raise InvalidArgument(f"{what} id mapping {part[:80]!r} is not container:host:size")
        one = Range(*map(int, numbers))
        if not one.size or one.container + one.size >= _IDS or one.host + one.size >= _IDS:
            raise InvalidArgument(f"{what} id mapping {part!r}: out of range")
        found.append(one)
    for starts in (sorted((one.container, one.size) for one in found), sorted((one.host, one.size) for one in found)):
        for (start, size), (following, _) in itertools.pairwise(starts):
            if start + size > following:
                raise InvalidArgument(f"{what} id mapping {text[:80]!r}: ranges overlap")
    return tuple(found)


def _host_of(ranges: Sequence[Range], what: str) -> int:
    for one in ranges:
        if one.container == 0:
            return one.host
    raise InvalidArgument(f"no {what} on the host is mapped to 0: a root file system needs an owner")


class _Namespaces:
    """User namespaces by their mapping. One needs a process to be made, but none to be kept, so the last few are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[IdMap, int] = OrderedDict()

    def get(self, mapping: IdMap) -> int:
        """A new descriptor."""
        with self._lock:
            if mapping not in self._kept:
                self._kept[mapping] = _make_namespace(mapping)
                if len(self._kept) > _KEPT:
                    os.close(self._kept.popitem(last=False)[1])
            self._kept.move_to_end(mapping)
            return os.dup(self._kept[mapping])


_NAMESPACES = _Namespaces()


@contextlib.contextmanager
def user_namespace(mapping: IdMap) -> Iterator[int]:
    """A descriptor of a user namespace with ``mapping``.

    :raises OSError: the kernel does not let us make one.
    """
    fd = _NAMESPACES.get(mapping)
    try:
        yield fd
    finally:
        os.close(fd)


def _make_namespace(mapping: IdMap) -> int:
    with _process() as pid:
        for name, ranges in (("uid_map", mapping.uids), ("gid_map", mapping.gids)):
            text = "".join(f"{one.container} {one.host} {one.size}\n" for one in ranges)
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _process() -> Iterator[int]:
    """A process in a new user namespace. (This one has threads, so it can neither fork nor unshare.)"""
    for command in _HELPERS:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        except FileNotFoundError:
            continue
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"x")
            if process.stdout.read(1) == b"x":
                yield process.pid
                return
        finally:
            process.kill()
            process.wait(_PATIENCE)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
    raise Unavailable("a user namespace could not be made", hint="sysctl user.max_user_namespaces must not be 0")


def clone(path: str, mapping: IdMap, *, recursive: bool = False, read_only: bool = False) -> int:
    """A detached mount of ``path`` through which owners are mapped; ``recursive``: with the mounts below it.

    :raises OSError: ENOSYS where the kernel or the file system cannot do it.
    """
    depth = libc.AT_RECURSIVE if recursive else 0
    fd = mountapi.open_tree(path, mountapi.OPEN_TREE_CLONE | depth)
    try:
        with user_namespace(mapping) as namespace:
            attributes = mountapi.MOUNT_ATTR_IDMAP | (mountapi.MOUNT_ATTR_RDONLY if read_only else 0)
            _set_attributes(fd, attributes, namespace, libc.AT_EMPTY_PATH | depth)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _set_attributes(fd: int, attributes: int, namespace: int, flags: int) -> None:
    try:
        mountapi.mount_setattr(fd, set=attributes, userns_fd=namespace, flags=flags)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        raise OSError(errno.ENOSYS, "its file system cannot be mounted with mapped owners") from exc


def supported(directory: str) -> bool:
    """Whether the file system of ``directory`` can be mounted with mapped owners, found out by doing it."""
    one = (Range(0, 65536, 65536),)
    try:
        with tempfile.TemporaryDirectory(prefix="probe-", dir=directory) as trial:
            os.close(clone(trial, IdMap(one, one)))
    except (OSError, Unavailable):
        return False
    return True
