"""Whether a directory is a place for ZFS snapshots."""

from __future__ import annotations

import os

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.kernel import Skip
from pycontainerd.sys.mountinfo import read_mountinfo

from .command import zfs

_PROBE_DEADLINE = 20.0
_TYPES = ("zfs", "fuse.zfs")


def check(root: str) -> str:
    """The dataset that is mounted at the directory ``root``.

    :raises Skip: none is, or the zfs command does not work.
    """
    dataset = dataset_at(root)
    if dataset is None:
        # Not just any directory on a ZFS: the snapshots would be children of a dataset that has other uses.
        raise Skip(
            f"no zfs dataset is mounted at {root}",
            hint=f"make one for it: zfs create -o mountpoint={root} POOL/containerd",
        )
    try:
        zfs("list", "-H", "-o", "name", dataset, deadline=_PROBE_DEADLINE)
    except ContainerdError as exc:
        raise Skip(
            f"the zfs command does not work: {exc}", hint="it needs root, zfsutils-linux and a healthy pool"
        ) from exc
    return dataset


def dataset_at(root: str) -> str | None:
    """The dataset that is mounted at ``root`` itself."""
    point = os.path.realpath(root)
    found = [mount for mount in read_mountinfo() if mount.point == point]
    return found[-1].source if found and found[-1].fstype in _TYPES else None
