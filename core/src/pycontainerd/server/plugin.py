"""Registrations: the listeners io.containerd.server.v1.grpc and .ttrpc, and io.containerd.grpc.v1.control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from pycontainerd.config.records import DEFAULT_ADDRESS
from pycontainerd.contracts.hooks import HOOK, VERIFIER
from pycontainerd.kernel import Context, Registration

from .services import explainer

if TYPE_CHECKING:
    from .control import ControlService
    from .grpc_server import GrpcServer
    from .ttrpc_server import TtrpcListener

MESSAGE_SIZE = 16 << 20  # bytes, both ways; the Go containerd's default
WORKERS = 32


def _owner(what: str) -> Any:
    return attrs.field(default=0, metadata={"doc": f"The {what} that owns the socket."})


def _size(what: str) -> Any:
    return attrs.field(default=MESSAGE_SIZE, metadata={"doc": f"The largest message that is {what}, in bytes."})


@attrs.frozen
class GrpcConfig:
    """The gRPC listener."""

    address: str = attrs.field(default=DEFAULT_ADDRESS, metadata={"doc": "The path of its unix socket."})
    uid: int = _owner("user")
    gid: int = _owner("group")
    max_recv_message_size: int = _size("taken")
    max_send_message_size: int = _size("sent")


@attrs.frozen
class TtrpcConfig:
    """The ttrpc listener, to which shims send their events."""

    address: str = attrs.field(
        default="", metadata={"doc": "The path of its unix socket. Empty: that of the gRPC listener with .ttrpc added."}
    )
    uid: int = _owner("user")
    gid: int = _owner("group")


async def _grpc(ctx: Context[GrpcConfig]) -> GrpcServer:
    from concurrent.futures import ThreadPoolExecutor

    from .grpc_server import Dispatcher, GrpcServer

    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="rpc")
    services = ctx.by_type("io.containerd.grpc.v1")
    server = GrpcServer(
        Dispatcher(services, pool, explainer(ctx.daemon.report)),
        max_receive=ctx.config.max_recv_message_size,
        max_send=ctx.config.max_send_message_size,
    )
    server.listen_unix(ctx.daemon.address, uid=ctx.config.uid, gid=ctx.config.gid)
    await server.start()
    ctx.exports["address"] = ctx.daemon.address
    ctx.log.info("serving", address=ctx.daemon.address)
    return server


async def _ttrpc(ctx: Context[TtrpcConfig]) -> TtrpcListener:
    from .ttrpc_server import TtrpcListener

    listener = TtrpcListener(list(ctx.by_type("io.containerd.ttrpc.v1").values()))
    await listener.listen_unix(ctx.daemon.ttrpc_address, uid=ctx.config.uid, gid=ctx.config.gid)
    ctx.exports["address"] = ctx.daemon.ttrpc_address
    return listener


def _control(ctx: Context[None]) -> ControlService:
    from .control import ControlService

    return ControlService(ctx.daemon)


async def _stop(server: GrpcServer | TtrpcListener) -> None:
    await server.stop()


grpc = Registration(
    type="io.containerd.server.v1",
    id="grpc",
    # Hooks come first: no call may find them missing because they are slow to start.
    wants=("io.containerd.grpc.v1", "io.containerd.server.v1.ttrpc", HOOK, VERIFIER),
    config=GrpcConfig,
    init=_grpc,
    close=_stop,
)
control = Registration(type="io.containerd.grpc.v1", id="control", init=_control)
ttrpc = Registration(
    type="io.containerd.server.v1",
    id="ttrpc",
    wants=("io.containerd.ttrpc.v1",),
    config=TtrpcConfig,
    init=_ttrpc,
    close=_stop,
)
