"""Real file systems for tests, made in a file and mounted through a loop device. They need root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator

from pycontainerd.sys.mount import unmount_recursive

from . import needs

_MAKERS = {"btrfs": "mkfs.btrfs", "ext4": "mkfs.ext4", "xfs": "mkfs.xfs"}
_PATIENCE = 60.0  # seconds


@contextlib.contextmanager
def loop(fstype: str, megabytes: int = 512, *, maker: tuple[str, ...] = ("-q",)) -> Iterator[str]:
    """The mount point of a new file system ``fstype``, which is gone after the ``with``.

    Its backing file is sparse, ``<directory>/disk`` beside the mount point ``<directory>/mnt``. Where it cannot be made the
    test is skipped, under CI it fails.
    """
    needs.root()
    command = needs.command(_MAKERS[fstype])
    if not _known(fstype):
        needs.missing(f"this kernel has no {fstype}")
    with tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as directory:
        image, point = os.path.join(directory, "disk"), os.path.join(directory, "mnt")
        os.mkdir(point)
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        run(command, *maker, image)
        run("mount", "-o", "loop", "-t", fstype, image, point)  # frees the loop device when it is unmounted
        try:
            yield point
        finally:
            unmount_recursive(point)


def run(*command: str) -> str:
    """Run a command of the system; gives its output.

    :raises RuntimeError: it failed; with what it wrote.
    """
    environment = {**os.environ, "PATH": needs.PATH, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _known(fstype: str) -> bool:
    with open("/proc/filesystems", encoding="ascii") as file:
        if any(line.split()[-1] == fstype for line in file):
            return True
    with contextlib.suppress(RuntimeError, FileNotFoundError):
        run("modprobe", fstype)
        return True
    return False
