"""Registration: io.containerd.unpack.v1.unpacker."""

from __future__ import annotations

from pycontainerd.kernel import Context, Registration

from .unpacker import Unpacker

_CONTENT = "io.containerd.service.v1.content-service"
_SNAPSHOTS = "io.containerd.service.v1.snapshots-service"
_DIFF = "io.containerd.service.v1.diff-service"


def _init(ctx: Context[None]) -> Unpacker:
    return Unpacker(ctx.by_id(_CONTENT), ctx.by_id(_SNAPSHOTS), ctx.by_id(_DIFF))


unpacker = Registration(
    type="io.containerd.unpack.v1", id="unpacker", requires=(_CONTENT, _SNAPSHOTS, _DIFF), init=_init
)
