"""Registrations: records, the native snapshotter, the namespaced service, its gRPC edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from pycontainerd.kernel import Context, Registration

from .native import NativeSnapshotter
from .records import RecordStore
from .snapshots import Snapshots

if TYPE_CHECKING:
    from .service import SnapshotsRpc

_BACKENDS = "io.containerd.snapshotter.v1"
_SERVICE = "io.containerd.service.v1.snapshots-service"
PREFERRED = ("overlayfs", "native")


@attrs.frozen
class SnapshotsConfig:
    """``default`` is the snapshotter of callers that name none: overlayfs where it is up, else native."""

    default: str = ""


@attrs.frozen
class NativeConfig:
    """``root_path`` replaces the plugin's own directory."""

    root_path: str = ""


def _records(ctx: Context[None]) -> RecordStore:
    return RecordStore(ctx.single("io.containerd.metadata.v1"))


def _native(ctx: Context[NativeConfig]) -> NativeSnapshotter:
    root = ctx.config.root_path or ctx.root
    ctx.exports["root"] = root
    return NativeSnapshotter(root, ctx.single("io.containerd.snapshot-records.v1").records("native"))


def _service(ctx: Context[SnapshotsConfig]) -> Snapshots:
    backends = ctx.by_type(_BACKENDS)
    snapshots = Snapshots(
        backends,
        (ctx.config.default,) if ctx.config.default else PREFERRED,
        ctx.single("io.containerd.metadata.v1"),
        ctx.single("io.containerd.event.v1"),
        lambda name: str(ctx.daemon.report().why(f"{_BACKENDS}.{name}")),
    )
    ctx.exports["default"] = snapshots.default
    return snapshots


def _reload(snapshots: Snapshots, config: SnapshotsConfig) -> None:
    snapshots.preferred = (config.default,) if config.default else PREFERRED


def _rpc(ctx: Context[None]) -> SnapshotsRpc:
    from .service import SnapshotsRpc

    return SnapshotsRpc(ctx.by_id(_SERVICE))


records = Registration(
    type="io.containerd.snapshot-records.v1", id="sqlite", requires=("io.containerd.metadata.v1",), init=_records
)
native = Registration(
    type=_BACKENDS,
    id="native",
    requires=("io.containerd.snapshot-records.v1",),
    config=NativeConfig,
    init=_native,
    close=NativeSnapshotter.close,
)
service = Registration(
    type="io.containerd.service.v1",
    id="snapshots-service",
    requires=(_BACKENDS, "io.containerd.metadata.v1", "io.containerd.event.v1"),
    config=SnapshotsConfig,
    init=_service,
    reload=_reload,
)
rpc = Registration(type="io.containerd.grpc.v1", id="snapshots", requires=(_SERVICE,), init=_rpc)
