"""Registrations: the local back end, the namespaced service, its gRPC edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .content import Content
from .local import LocalStore

if TYPE_CHECKING:
    from .service import ContentRpc


def _local(ctx: Context[None]) -> LocalStore:
    ctx.exports["root"] = ctx.root
    return LocalStore(ctx.root)


def _service(ctx: Context[None]) -> Content:
    database = ctx.single("io.containerd.metadata.v1")
    return Content(
        ctx.single("io.containerd.content.v1"),
        database,
        ctx.single("io.containerd.event.v1"),
        isolated=getattr(database, "isolated", False),  # its setting, as in the Go containerd
    )


def _rpc(ctx: Context[None]) -> ContentRpc:
    from .service import ContentRpc

    return ContentRpc(ctx.by_id("io.containerd.service.v1.content-service"))


local = Registration(type="io.containerd.content.v1", id="content", init=_local)
service = Registration(
    type="io.containerd.service.v1",
    id="content-service",
    requires=("io.containerd.content.v1", "io.containerd.metadata.v1", "io.containerd.event.v1"),
    init=_service,
)
rpc = Registration(
    type="io.containerd.grpc.v1", id="content", requires=("io.containerd.service.v1.content-service",), init=_rpc
)
