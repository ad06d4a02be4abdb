"""Registrations: io.containerd.service.v1.containers-service and io.containerd.grpc.v1.containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .containers import Containers

if TYPE_CHECKING:
    from .service import ContainersRpc

_SERVICE = "io.containerd.service.v1.containers-service"


def _service(ctx: Context[None]) -> Containers:
    return Containers(ctx.single("io.containerd.metadata.v1"), ctx.single("io.containerd.event.v1"))


def _rpc(ctx: Context[None]) -> ContainersRpc:
    from .service import ContainersRpc

    return ContainersRpc(ctx.by_id(_SERVICE))


service = Registration(
    type="io.containerd.service.v1",
    id="containers-service",
    requires=("io.containerd.metadata.v1", "io.containerd.event.v1"),
    init=_service,
)
rpc = Registration(type="io.containerd.grpc.v1", id="containers", requires=(_SERVICE,), init=_rpc)
