"""Registration: io.containerd.unpack.v1.unpacker."""

from __future__ import annotations

from pycontainerd.kernel import Context, Registration

from .unpacker import Unpacker

_CONTENT = "io.containerd.service.v1.content-service"
_SNAPSHOTS = "io.containerd.service.v1.snapshots-service"
_DIFF = "io.containerd.service.v1.diff-service"


_IMAGES = "io.containerd.service.v1.images-service"
_LEASES = "io.containerd.lease.v1.manager"


def _init(ctx: Context[None]) -> Unpacker:
    content, snapshots, diff = ctx.by_id(_CONTENT), ctx.by_id(_SNAPSHOTS), ctx.by_id(_DIFF)
    if {_IMAGES, _LEASES} <= set(ctx.instances) and snapshots.suspects():
        import threading

        from .suspects import Judge

        judge = Judge(content, snapshots, diff, ctx.by_id(_IMAGES), ctx.by_id(_LEASES))
        threading.Thread(target=judge.run, name="suspects", daemon=True).start()
    return Unpacker(content, snapshots, diff)


unpacker = Registration(
    type="io.containerd.unpack.v1",
    id="unpacker",
    requires=(_CONTENT, _SNAPSHOTS, _DIFF),
    wants=(_IMAGES, _LEASES),
    init=_init,
)
