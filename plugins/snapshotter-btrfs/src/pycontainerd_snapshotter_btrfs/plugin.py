"""Registration: io.containerd.snapshotter.v1.btrfs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts.snapshots import Holding
from pycontainerd.kernel import Context, Registration

if TYPE_CHECKING:
    from .snapshotter import BtrfsSnapshotter


@attrs.frozen
class Config:
    """``root_path``, a directory on a btrfs, replaces the plugin's own directory."""

    root_path: str = ""


def _init(ctx: Context[Config]) -> BtrfsSnapshotter:
    from . import place
    from .snapshotter import BtrfsSnapshotter

    root = ctx.config.root_path or ctx.root
    device = place.check(root)
    ctx.exports["root"] = root
    return BtrfsSnapshotter(root, device, ctx.single("io.containerd.snapshot-records.v1").records("btrfs"))


def _close(snapshotter: BtrfsSnapshotter) -> None:
    snapshotter.close()


def holdings(root: str) -> Iterable[Holding]:
    """The subvolumes below ``root``; see `contracts.snapshots.Holding`."""
    from .snapshotter import holdings as found

    return found(root)


registration = Registration(
    type="io.containerd.snapshotter.v1",
    id="btrfs",
    requires=("io.containerd.snapshot-records.v1",),
    config=Config,
    platforms=("linux",),
    init=_init,
    close=_close,
)
