"""Registration: io.containerd.snapshotter.v1.acme-reflink."""

from __future__ import annotations

import shutil

import attrs

from pycontainerd.kernel import Context, Registration, Skip

from .snapshotter import ReflinkSnapshotter


@attrs.frozen
class Config:
    """``program`` copies: GNU cp, or one with its options."""

    program: str = "cp"


def _init(ctx: Context[Config]) -> ReflinkSnapshotter:
    program = shutil.which(ctx.config.program)
    if program is None:
        raise Skip(f"there is no {ctx.config.program} here", hint="install coreutils")
    ctx.exports["program"] = program
    records = ctx.single("io.containerd.snapshot-records.v1").records("acme-reflink")
    return ReflinkSnapshotter(ctx.root, records, program)


registration = Registration(
    type="io.containerd.snapshotter.v1",
    id="acme-reflink",
    requires=("io.containerd.snapshot-records.v1",),
    config=Config,
    platforms=("linux",),
    init=_init,
    close=ReflinkSnapshotter.close,
)
