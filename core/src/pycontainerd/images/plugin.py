"""Registrations: io.containerd.service.v1.images-service and io.containerd.grpc.v1.images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .images import Images

if TYPE_CHECKING:
    from .service import ImagesRpc

_SERVICE = "io.containerd.service.v1.images-service"


def _service(ctx: Context[None]) -> Images:
    return Images(ctx.single("io.containerd.metadata.v1"), ctx.single("io.containerd.event.v1"))


def _rpc(ctx: Context[None]) -> ImagesRpc:
    from .service import ImagesRpc

    return ImagesRpc(ctx.by_id(_SERVICE), ctx.by_type("io.containerd.gc.v1"))


service = Registration(
    type="io.containerd.service.v1",
    id="images-service",
    requires=("io.containerd.metadata.v1", "io.containerd.event.v1"),
    init=_service,
)
rpc = Registration(
    type="io.containerd.grpc.v1", id="images", requires=(_SERVICE,), wants=("io.containerd.gc.v1",), init=_rpc
)
