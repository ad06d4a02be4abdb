"""Registration: io.containerd.snapshotter.v1.overlayfs."""

from __future__ import annotations

import os

import attrs

from pycontainerd.kernel import Context, Registration
from pycontainerd.sys.userns import in_user_namespace

from . import probe
from .snapshotter import OverlaySnapshotter


@attrs.frozen
class Config:
    """The keys of the Go containerd's overlay snapshotter that are served here.

    ``root_path`` replaces the plugin's own directory; ``mount_options`` are added to every overlay mount;
    ``upperdir_label`` shows a snapshot's upper directory as a label; ``sync_remove`` deletes a removed snapshot's files
    before the removal returns. ``slow_chown`` is taken and changes nothing: clients map owners of a snapshot themselves.
    """

    root_path: str = ""
    upperdir_label: bool = False
    sync_remove: bool = False
    slow_chown: bool = False
    mount_options: list[str] = attrs.field(factory=list)


def _init(ctx: Context[Config]) -> OverlaySnapshotter:
    root = ctx.config.root_path or ctx.root
    os.makedirs(root, mode=0o700, exist_ok=True)
    probe.check(root)
    options = list(ctx.config.mount_options)
    if in_user_namespace() and "userxattr" not in options:
        options.append("userxattr")
    if probe.supports_index() and not any(option.startswith("index=") for option in options):
        options.append("index=off")
    ctx.exports["root"] = root
    ctx.capabilities.append("rebase")
    records = ctx.single("io.containerd.snapshot-records.v1").records("overlayfs")
    return OverlaySnapshotter(
        root,
        records,
        options=options,
        upperdir_label=ctx.config.upperdir_label,
        sync_remove=ctx.config.sync_remove,
    )


registration = Registration(
    type="io.containerd.snapshotter.v1",
    id="overlayfs",
    requires=("io.containerd.snapshot-records.v1",),
    config=Config,
    platforms=("linux",),
    init=_init,
    close=OverlaySnapshotter.close,
)
