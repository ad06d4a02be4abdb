"""A ZFS pool in a file, for tests: the kernel's ZFS where there is one, else zfs-fuse.

zfs-fuse has one socket for the whole machine, so whoever needs a daemon of their own takes turns (a lock file), and one
that runs already is used as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence

import attrs

from pycontainerd.contracts.types import Mount
from pycontainerd.sys import mount

from . import needs
from .filesystems import run

_LOCK = "/tmp/pyc-zfs-fuse.lock"
_PATIENCE = 30.0  # seconds
_MEGABYTES = 512
_TRIES = 4


@attrs.frozen
class Pool:
    """``dataset`` is mounted at ``root``."""

    dataset: str
    root: str


@contextlib.contextmanager
def pool() -> Iterator[Pool]:
    """A new pool with a dataset in it; gone after the ``with``. Where it cannot be made: skipped, under CI failed."""
    needs.root()
    for name in ("zfs", "zpool"):
        needs.command(name)
    with contextlib.ExitStack() as stack:
        if not _in_kernel():
            stack.enter_context(_fuse())
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp"))
        # In memory where there is some: a pool syncs its disk several times in each command.
        image = stack.enter_context(
            tempfile.NamedTemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else directory)
        )
        image.truncate(_MEGABYTES << 20)
        made = _create(image.name, f"{directory}/root")
        stack.callback(_destroy, made.dataset.partition("/")[0])
        yield made


@contextlib.contextmanager
def mounted(mounts: Sequence[Mount]) -> Iterator[str]:
    """`sys.mount.mounted` for mounts of type zfs, which zfs-fuse makes by its own command only."""
    (wanted,) = mounts
    if _in_kernel():
        with mount.mounted(mounts) as path:
            yield path
        return
    path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    try:
        if "ro" in wanted.options:
            run("zfs", "set", "readonly=on", wanted.source)
        run("zfs", "set", f"mountpoint={path}", wanted.source)  # mounts it
        try:
            yield path
        finally:
            run("zfs", "set", "mountpoint=legacy", wanted.source)  # unmounts it
    finally:
        os.rmdir(path)


def _create(image: str, root: str) -> Pool:
    """A daemon that has just started, on a busy machine, may not get its first mount done in time."""
    for attempt in range(_TRIES):
        name = f"pyc-{uuid.uuid4().hex[:8]}"
        try:
            run("zpool", "create", "-f", "-m", "none", name, image)
            run("zfs", "create", "-o", f"mountpoint={root}", f"{name}/root")
            return Pool(f"{name}/root", root)
        except RuntimeError:
            if attempt == _TRIES - 1:
                raise
            with contextlib.suppress(RuntimeError):
                run("zpool", "destroy", "-f", name)
        time.sleep(0.5)
    raise AssertionError


def _destroy(name: str) -> None:
    """What was mounted is busy for a moment after it was unmounted: the file system is told later."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            run("zpool", "destroy", "-f", name)
            return
        except RuntimeError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


@contextlib.contextmanager
def _fuse() -> Iterator[None]:
    if not os.path.exists("/dev/fuse"):
        needs.missing("neither zfs nor fuse is in this kernel")
    command = needs.command("zfs-fuse")
    with open(_LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers():
            yield
            return
        with tempfile.TemporaryFile() as log:
            daemon = subprocess.Popen(
                [command, "--no-daemon", "--no-kstat-mount", "--enable-xattr"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
            try:
                _wait_for(daemon, log.fileno())
                yield
            finally:
                daemon.terminate()
                daemon.wait(_PATIENCE)


def _wait_for(daemon: subprocess.Popen[bytes], log: int) -> None:
    end = time.monotonic() + _PATIENCE
    while not _answers():
        if daemon.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"zfs-fuse does not start: {os.pread(log, 4096, 0).decode(errors='replace')}")
        time.sleep(0.05)


def _answers() -> bool:
    try:
        run("zpool", "list", "-H")
    except RuntimeError:
        return False
    return True


def _in_kernel() -> bool:
    with open("/proc/filesystems", encoding="ascii") as file:
        return any(line.split()[-1] == "zfs" for line in file)
