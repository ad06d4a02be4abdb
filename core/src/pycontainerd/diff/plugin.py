"""Registrations: the walking differ, the service over all differs, its gRPC edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts.errors import NotFound
from pycontainerd.kernel import Context, Registration

from .diff import Diff
from .differ import WalkingDiffer

if TYPE_CHECKING:
    from .service import DiffRpc

_SERVICE = "io.containerd.service.v1.diff-service"
_CONTENT = "io.containerd.service.v1.content-service"


@attrs.frozen
class DiffConfig:
    """As in the Go containerd: ``default`` has the differs to try, in that order; ``sync_fs`` syncs after each layer."""

    default: list[str] = attrs.field(factory=lambda: ["walking"])
    sync_fs: bool = False


def _walking(ctx: Context[None]) -> WalkingDiffer:
    return WalkingDiffer(ctx.state)


def _service(ctx: Context[DiffConfig]) -> Diff:
    differs = ctx.by_type("io.containerd.differ.v1")
    missing = [name for name in ctx.config.default if name not in differs]
    if missing:
        raise NotFound(f"no such differ: {', '.join(missing)}", hint=f"there are: {', '.join(sorted(differs))}")
    return Diff([differs[name] for name in ctx.config.default], sync=ctx.config.sync_fs)


def _rpc(ctx: Context[None]) -> DiffRpc:
    from .service import DiffRpc

    return DiffRpc(ctx.by_id(_SERVICE), ctx.by_id(_CONTENT))


walking = Registration(type="io.containerd.differ.v1", id="walking", platforms=("linux",), init=_walking)
service = Registration(
    type="io.containerd.service.v1",
    id="diff-service",
    requires=("io.containerd.differ.v1",),
    config=DiffConfig,
    init=_service,
)
rpc = Registration(type="io.containerd.grpc.v1", id="diff", requires=(_SERVICE, _CONTENT), init=_rpc)
