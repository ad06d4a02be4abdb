"""Registrations: io.containerd.gc-inventory.v1.metadata and io.containerd.grpc.v1.gc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .inventory import MetadataInventory

if TYPE_CHECKING:
    from .service import GarbageRpc

_CONTENT = "io.containerd.service.v1.content-service"
_SNAPSHOTS = "io.containerd.service.v1.snapshots-service"


def _inventory(ctx: Context[None]) -> MetadataInventory:
    return MetadataInventory(
        ctx.single("io.containerd.metadata.v1"),
        ctx.single("io.containerd.event.v1"),
        content=lambda: ctx.instances.get(_CONTENT),  # they may come and go
        snapshots=lambda: ctx.instances.get(_SNAPSHOTS),
    )


def _rpc(ctx: Context[None]) -> GarbageRpc:
    from .service import GarbageRpc

    return GarbageRpc(ctx.single("io.containerd.gc.v1"))


inventory = Registration(
    type="io.containerd.gc-inventory.v1",
    id="metadata",
    requires=("io.containerd.metadata.v1", "io.containerd.event.v1"),
    wants=(_CONTENT, _SNAPSHOTS),
    init=_inventory,
)
rpc = Registration(type="io.containerd.grpc.v1", id="gc", requires=("io.containerd.gc.v1",), init=_rpc)
