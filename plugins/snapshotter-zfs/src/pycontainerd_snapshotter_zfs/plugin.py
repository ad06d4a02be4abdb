"""Registration: io.containerd.snapshotter.v1.zfs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts.snapshots import Holding
from pycontainerd.kernel import Context, Registration

if TYPE_CHECKING:
    from .snapshotter import ZfsSnapshotter


@attrs.frozen
class Config:
    """``root_path``, where a dataset is mounted, replaces the plugin's own directory."""

    root_path: str = ""


def _init(ctx: Context[Config]) -> ZfsSnapshotter:
    from . import place
    from .snapshotter import ZfsSnapshotter

    root = ctx.config.root_path or ctx.root
    dataset = place.check(root)
    ctx.exports["root"] = root
    return ZfsSnapshotter(dataset, ctx.single("io.containerd.snapshot-records.v1").records("zfs"))


def _close(snapshotter: ZfsSnapshotter) -> None:
    snapshotter.close()


def holdings(root: str) -> Iterable[Holding]:
    """The datasets of the one that is mounted at ``root``; see `contracts.snapshots.Holding`."""
    from .snapshotter import holdings as found

    return found(root)


registration = Registration(
    type="io.containerd.snapshotter.v1",
    id="zfs",
    requires=("io.containerd.snapshot-records.v1",),
    config=Config,
    platforms=("linux",),
    init=_init,
    close=_close,
)
