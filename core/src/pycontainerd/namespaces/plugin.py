"""Registrations: io.containerd.service.v1.namespaces-service and io.containerd.grpc.v1.namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .namespaces import Namespaces

if TYPE_CHECKING:
    from .service import NamespacesRpc

_SERVICE = "io.containerd.service.v1.namespaces-service"


def _service(ctx: Context[None]) -> Namespaces:
    return Namespaces(ctx.single("io.containerd.metadata.v1"), ctx.single("io.containerd.event.v1"))


def _rpc(ctx: Context[None]) -> NamespacesRpc:
    from .service import NamespacesRpc

    return NamespacesRpc(ctx.by_id(_SERVICE))


service = Registration(
    type="io.containerd.service.v1",
    id="namespaces-service",
    requires=("io.containerd.metadata.v1", "io.containerd.event.v1"),
    init=_service,
)
rpc = Registration(type="io.containerd.grpc.v1", id="namespaces", requires=(_SERVICE,), init=_rpc)
