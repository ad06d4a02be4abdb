"""Registrations: io.containerd.lease.v1.manager and io.containerd.grpc.v1.leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .leases import Leases

if TYPE_CHECKING:
    from .service import LeasesRpc


def _manager(ctx: Context[None]) -> Leases:
    return Leases(ctx.single("io.containerd.metadata.v1"))


def _rpc(ctx: Context[None]) -> LeasesRpc:
    from .service import LeasesRpc

    return LeasesRpc(ctx.single("io.containerd.lease.v1"), ctx.by_type("io.containerd.gc.v1"))


manager = Registration(
    type="io.containerd.lease.v1", id="manager", requires=("io.containerd.metadata.v1",), init=_manager
)
rpc = Registration(
    type="io.containerd.grpc.v1",
    id="leases",
    requires=("io.containerd.lease.v1",),
    wants=("io.containerd.gc.v1",),
    init=_rpc,
)
