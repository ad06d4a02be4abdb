"""Registrations: the walking differ, the service over all differs, its gRPC edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts.errors import NotFound
from pycontainerd.kernel import Context, Registration, Report
from pycontainerd.sys.mount import unmount_left

from .diff import Diff
from .differ import WalkingDiffer

if TYPE_CHECKING:
    from .service import DiffRpc

_TYPE = "io.containerd.differ.v1"
_SERVICE = "io.containerd.service.v1.diff-service"
_CONTENT = "io.containerd.service.v1.content-service"


@attrs.frozen
class DiffConfig:
    """As in the Go containerd: ``default`` has the differs to try, in that order; ``sync_fs`` syncs after each layer."""

    default: list[str] = attrs.field(factory=lambda: ["walking"])
    sync_fs: bool = False


def _walking(ctx: Context[None]) -> WalkingDiffer:
    for path in unmount_left(ctx.state):
        ctx.log.info("a mount of a daemon that was killed is taken down", path=path)
    return WalkingDiffer(ctx.state)


def _service(ctx: Context[DiffConfig]) -> Diff:
    _known(ctx.config, ctx.daemon.report())
    return Diff(
        ctx.by_type(_TYPE),
        ctx.config.default,
        sync=ctx.config.sync_fs,
        why=lambda name: str(ctx.daemon.report().why(f"{_TYPE}.{name}")),
    )


def _known(config: DiffConfig, report: Report) -> None:
    """A differ that is late may come; one that nobody knows is a mistake."""
    for name in config.default:
        if f"{_TYPE}.{name}" not in report.rows:
            raise NotFound(f"no such differ: {report.why(f'{_TYPE}.{name}')}")


def _reload(diff: Diff, config: DiffConfig) -> None:
    diff.order, diff.sync = config.default, config.sync_fs


def _rpc(ctx: Context[None]) -> DiffRpc:
    from .service import DiffRpc

    return DiffRpc(ctx.by_id(_SERVICE), ctx.by_id(_CONTENT))


walking = Registration(type=_TYPE, id="walking", platforms=("linux",), init=_walking)
service = Registration(
    type="io.containerd.service.v1",
    id="diff-service",
    requires=(_TYPE,),
    config=DiffConfig,
    init=_service,
    reload=_reload,
)
rpc = Registration(type="io.containerd.grpc.v1", id="diff", requires=(_SERVICE, _CONTENT), init=_rpc)
