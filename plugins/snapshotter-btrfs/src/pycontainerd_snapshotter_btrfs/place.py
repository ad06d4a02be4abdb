"""Whether a directory is a place for btrfs snapshots."""

from __future__ import annotations

import os

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.kernel import Skip
from pycontainerd.sys.mountinfo import MountInfo, read_mountinfo

from . import subvolumes


def check(root: str) -> str:
    """What the file system of the directory ``root``, which is made, is mounted from.

    :raises Skip: it is no btrfs, subvolumes cannot be made there, or something takes snapshots of all that is there.
    """
    mount = mount_of(root)
    if mount.fstype != "btrfs":
        raise Skip(
            f"{root} is on {mount.fstype}, and btrfs snapshots need a btrfs",
            hint="mount one there, or set root_path of io.containerd.snapshotter.v1.btrfs to a directory on one",
        )
    os.makedirs(root, mode=0o700, exist_ok=True)
    _check_use(root)
    _check_automatic(root, mount.point)
    return mount.source


def mount_of(root: str) -> MountInfo:
    """The mount that ``root`` is in, or would be: of those on its path the deepest, of those on one point the last."""
    path = os.path.realpath(root)
    found = [mount for mount in read_mountinfo() if os.path.commonpath((path, mount.point)) == mount.point]
    return max(reversed(found), key=lambda mount: len(mount.point))


def _check_use(root: str) -> None:
    trial = os.path.join(root, f"probe-{os.getpid()}")
    try:
        subvolumes.create(trial, 0o700)
        subvolumes.info(trial)
        subvolumes.delete(trial)
    except ContainerdError as exc:
        raise Skip(f"btrfs subvolumes do not work in {root}: {exc}", hint="it needs root and Linux 5.7") from exc


def _check_automatic(root: str, top: str) -> None:
    """Snapper keeps what it takes of a subvolume in ``.snapshots`` there.

    A roll-back to one of them would take the records back and leave our subvolumes behind in the old tree.
    """
    path = os.path.realpath(root)
    while not subvolumes.is_subvolume(path) and path != top:
        path = os.path.dirname(path)
    if subvolumes.is_subvolume(os.path.join(path, ".snapshots")):
        raise Skip(
            f"{root} is in the subvolume {path}, of which snapshots are taken automatically ({path}/.snapshots):"
            " a roll-back would tear the layers from their records",
            hint=f"make it a subvolume of its own: btrfs subvolume create {root}",
        )


def mounted_at(path: str) -> str:
    """Where the subvolume at ``path``, or one in it, is mounted by itself; empty when it is not."""
    path = os.path.realpath(path)
    around = mount_of(path)
    inside = os.path.normpath(os.path.join(around.root, os.path.relpath(path, around.point)))
    for mount in read_mountinfo():
        if mount.device == around.device and os.path.commonpath((mount.root, inside)) == inside:
            return mount.point
    return ""
