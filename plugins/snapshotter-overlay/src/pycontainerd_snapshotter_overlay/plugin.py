"""Registration: io.containerd.snapshotter.v1.overlayfs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import attrs

from pycontainerd.kernel import Context, Registration
from pycontainerd.sys import idmap
from pycontainerd.sys.userns import in_user_namespace

from . import probe
from .snapshotter import OverlaySnapshotter


@attrs.frozen
class Config:
    """The keys of the Go containerd's overlay snapshotter.

    ``root_path`` replaces the plugin's own directory; ``mount_options`` are added to every overlay mount;
    ``upperdir_label`` shows a snapshot's upper directory as a label; ``sync_remove`` deletes a removed snapshot's files
    before the removal returns. ``slow_chown`` lets clients change the owners of all files of a snapshot where mounts with mapped
    owners do not work.
    """

    root_path: str = ""
    upperdir_label: bool = False
    sync_remove: bool = False
    slow_chown: bool = False
    mount_options: list[str] = attrs.field(factory=list)


def _init(ctx: Context[Config]) -> OverlaySnapshotter:
    root = ctx.config.root_path or ctx.root
    os.makedirs(root, mode=0o700, exist_ok=True)
    options = _options(ctx.config.mount_options)
    probe.check(root, options)
    ctx.exports["root"] = root
    remap = idmap.supported(root)
    if remap:
        ctx.capabilities.append("remap-ids")
    if not ctx.config.slow_chown:
        ctx.capabilities.append("only-remap-ids")
    if not in_user_namespace():  # whiteouts are device nodes, and rebasing makes them without overlayfs
        ctx.capabilities.append("rebase")
    return OverlaySnapshotter(
        root,
        ctx.single("io.containerd.snapshot-records.v1").records("overlayfs"),
        options=options,
        upperdir_label=ctx.config.upperdir_label,
        sync_remove=ctx.config.sync_remove,
        remap=remap,
    )


def _options(configured: Sequence[str]) -> list[str]:
    """Those of the configuration, and what every mount needs unless the configuration says otherwise."""
    options = list(configured)
    if in_user_namespace() and "userxattr" not in options:
        options.append("userxattr")
    if probe.supports_index() and not any(option.startswith("index=") for option in options):
        options.append("index=off")
    return options


registration = Registration(
    type="io.containerd.snapshotter.v1",
    id="overlayfs",
    requires=("io.containerd.snapshot-records.v1",),
    config=Config,
    platforms=("linux",),
    init=_init,
    close=OverlaySnapshotter.close,
)
