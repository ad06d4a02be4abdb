"""Registration: io.containerd.snapshotter.v1.zfs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

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
    os.makedirs(root, mode=0o700, exist_ok=True)
    dataset = place.check(root)
    ctx.exports["root"] = root
    return ZfsSnapshotter(dataset, ctx.single("io.containerd.snapshot-records.v1").records("zfs"))


def _close(snapshotter: ZfsSnapshotter) -> None:
    snapshotter.close()


registration = Registration(
    type="io.containerd.snapshotter.v1",
    id="zfs",
    requires=("io.containerd.snapshot-records.v1",),
    config=Config,
    platforms=("linux",),
    init=_init,
    close=_close,
)
