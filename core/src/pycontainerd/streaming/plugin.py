"""Registrations: io.containerd.streaming.v1.manager and io.containerd.grpc.v1.streaming."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .streams import StreamManager

if TYPE_CHECKING:
    from .service import StreamingRpc

_MANAGER = "io.containerd.streaming.v1"


async def _manager(_ctx: Context[None]) -> StreamManager:
    return StreamManager()


def _rpc(ctx: Context[None]) -> StreamingRpc:
    from .service import StreamingRpc

    return StreamingRpc(ctx.single(_MANAGER))


manager = Registration(type=_MANAGER, id="manager", init=_manager)
rpc = Registration(type="io.containerd.grpc.v1", id="streaming", requires=(_MANAGER,), init=_rpc)
