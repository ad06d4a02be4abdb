"""The zfs command, with deadlines: ZFS has no stable interface but its commands."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence

from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)

DEADLINE = 120.0
"""Seconds that a command may take. A pool under load syncs slowly; one that is suspended never answers."""
_LAST_WORDS = 1.0  # seconds for a killed command to go

# What the commands of OpenZFS and zfs-fuse say, in the C locale.
_ERRORS: Sequence[tuple[str, type[ContainerdError]]] = (
    ("does not exist", NotFound),
    ("no such pool", NotFound),
    ("already exists", AlreadyExists),
    ("busy", FailedPrecondition),
    ("has dependent clones", FailedPrecondition),
    ("has children", FailedPrecondition),
    ("cannot unmount", FailedPrecondition),
    ("umount failed", FailedPrecondition),
    ("out of space", ResourceExhausted),
    ("quota exceeded", ResourceExhausted),
    ("permission denied", PermissionDenied),
    ("must be run as root", PermissionDenied),
    ("connecting to zfs-fuse", Unavailable),
    ("Failed to initialize the libzfs", Unavailable),
    ("failed to initialize ZFS", Unavailable),
    ("pool I/O is currently suspended", Unavailable),
    ("invalid option", InvalidArgument),
)


def zfs(*arguments: str, deadline: float = DEADLINE) -> str:
    """Run ``zfs`` with ``arguments``; gives its output.

    :raises DeadlineExceeded: it did not end in time. It is killed, but not waited for: in the kernel it may hang forever.
    :raises ContainerdError: it failed; of the class that fits what it wrote.
    """
    what = f"zfs {' '.join(arguments)}"
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["zfs", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise Unavailable(f"{what}: there is no zfs command", hint="install zfsutils-linux") from None
    try:
        output, said = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        _abandon(process)
        raise DeadlineExceeded(
            f"{what}: no answer in {deadline:g} seconds", hint="zpool status -x says what is wrong with the pool"
        ) from None
    if process.returncode:
        raise _failure(said)(f"{what}: {' '.join(said.split()) or f'exit status {process.returncode}'}")
    return output


def _abandon(process: subprocess.Popen[str]) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LAST_WORDS)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _failure(said: str) -> type[ContainerdError]:
    return next((kind for words, kind in _ERRORS if words in said), Internal)
