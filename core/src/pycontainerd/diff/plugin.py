"""Registrations: the walking differ, the service over all differs, its gRPC edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .diff import Diff
from .differ import WalkingDiffer

if TYPE_CHECKING:
    from .service import DiffRpc

_SERVICE = "io.containerd.service.v1.diff-service"
_CONTENT = "io.containerd.service.v1.content-service"


def _walking(ctx: Context[None]) -> WalkingDiffer:
    return WalkingDiffer(ctx.state)


def _service(ctx: Context[None]) -> Diff:
    return Diff([differ for _, differ in sorted(ctx.by_type("io.containerd.differ.v1").items())])


def _rpc(ctx: Context[None]) -> DiffRpc:
    from .service import DiffRpc

    return DiffRpc(ctx.by_id(_SERVICE), ctx.by_id(_CONTENT))


walking = Registration(type="io.containerd.differ.v1", id="walking", platforms=("linux",), init=_walking)
service = Registration(
    type="io.containerd.service.v1", id="diff-service", requires=("io.containerd.differ.v1",), init=_service
)
rpc = Registration(type="io.containerd.grpc.v1", id="diff", requires=(_SERVICE, _CONTENT), init=_rpc)
