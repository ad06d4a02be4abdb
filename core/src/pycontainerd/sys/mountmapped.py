"""Mounts with mapped owners."""

from __future__ import annotations

import os

from . import idmap, libc, mountapi, overlay
from .mountcalls import MNT_DETACH, mount_plain
from .mountflags import MS_REC, MountPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .mountcalls import Mount


def mount_mapped(mount: Mount, point: str, plan: MountPlan) -> None:
    """Owners are mapped by a mount in between; for an overlay that of its lower layers, for what is written has owners already.

    :raises OSError: what the kernel says.
    :raises ValueError: the maps cannot be read.
    """
    mapping = idmap.parse(plan.uidmap, plan.gidmap)
    if mount.type == "overlay":
        with overlay.mapped_layers(plan, mapping) as mapped:
            mount_plain(mount, point, mapped)
        return
    if plan.bind:
        fd = idmap.clone(mount.source, mapping, recursive=bool(plan.flags & MS_REC))
    else:
        mount_plain(mount, point, plan)
        try:
            fd = idmap.clone(point, mapping)
        finally:
            libc.umount2(point, MNT_DETACH)
    try:
        mountapi.move_mount(fd, point)
    finally:
        os.close(fd)
