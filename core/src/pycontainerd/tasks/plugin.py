"""Registrations: io.containerd.runtime.v2.task and io.containerd.grpc.v1.tasks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from pycontainerd.kernel import Context, Registration

if TYPE_CHECKING:
    from .manager import TaskManager
    from .service import TasksRpc

_RUNTIME = "io.containerd.runtime.v2"
_HANDLER = "io.containerd.runtime-handler.v1"
_CONTAINERS = "io.containerd.service.v1.containers-service"


@attrs.frozen
class Config:
    """Tasks.

    ``platforms`` are those that containers may be of, for information; empty is this machine's. With ``sched_core``
    each shim and its containers share a core-scheduling cookie, where the shim knows how.
    """

    platforms: list[str] = attrs.field(factory=list)
    sched_core: bool = False


async def _manager(ctx: Context[Config]) -> TaskManager:
    from .command import Addresses
    from .edits import SpecEdits
    from .launcher import Launchers
    from .manager import TaskManager

    extra = {"SCHED_CORE": "1"} if ctx.config.sched_core else {}
    addresses = Addresses(ctx.daemon.address, ctx.daemon.ttrpc_address, ctx.daemon.version, extra)
    ctx.platforms.extend(ctx.config.platforms)
    sockets = os.path.join(ctx.daemon.state, "s")
    os.makedirs(sockets, mode=0o700, exist_ok=True)
    launchers = Launchers(ctx.by_type(_HANDLER), ctx.daemon.zygote, addresses, sockets)
    events = ctx.single("io.containerd.event.v1")
    manager = TaskManager(ctx.root, ctx.state, launchers, events, ctx.log, SpecEdits.in_daemon(ctx))
    await manager.recover()
    return manager


async def _close(manager: TaskManager) -> None:
    await manager.close()


def _rpc(ctx: Context[None]) -> TasksRpc:
    from .service import TasksRpc

    return TasksRpc(ctx.single(_RUNTIME), ctx.by_id(_CONTAINERS), ctx.log)


manager = Registration(
    type=_RUNTIME,
    id="task",
    requires=("io.containerd.event.v1",),
    wants=(_HANDLER,),
    config=Config,
    init=_manager,
    close=_close,
)
rpc = Registration(type="io.containerd.grpc.v1", id="tasks", requires=(_RUNTIME, _CONTAINERS), init=_rpc)
