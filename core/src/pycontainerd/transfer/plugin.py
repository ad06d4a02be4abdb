"""Registrations: io.containerd.transfer.v1.local and io.containerd.grpc.v1.transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .limits import BindirConfig, TransferConfig

if TYPE_CHECKING:
    from .bindir import BindirVerifier
    from .local import LocalTransfer
    from .service import TransferRpc

_CONTENT = "io.containerd.service.v1.content-service"
_IMAGES = "io.containerd.service.v1.images-service"
_LEASES = "io.containerd.lease.v1"
_UNPACK = "io.containerd.unpack.v1"
_TRANSFER = "io.containerd.transfer.v1.local"
_STREAMING = "io.containerd.streaming.v1.manager"


async def _local(ctx: Context[TransferConfig]) -> LocalTransfer:
    from .local import LocalTransfer
    from .verify import Verifiers

    return LocalTransfer(
        ctx.by_id(_CONTENT),
        ctx.by_id(_IMAGES),
        ctx.single(_LEASES),
        ctx.single(_UNPACK),
        ctx.config,
        Verifiers.in_daemon(ctx),
    )


async def _reload(transfer: LocalTransfer, config: TransferConfig) -> None:
    transfer.configure(config)


def _close(transfer: LocalTransfer) -> None:
    transfer.close()


def _bindir(ctx: Context[BindirConfig]) -> BindirVerifier:
    from .bindir import BindirVerifier

    return BindirVerifier(ctx.config, ctx.log)


def _rpc(ctx: Context[None]) -> TransferRpc:
    from .service import TransferRpc

    return TransferRpc(ctx.by_id(_TRANSFER), ctx.by_id(_STREAMING))


local = Registration(
    type="io.containerd.transfer.v1",
    id="local",
    requires=(_CONTENT, _IMAGES, _LEASES, _UNPACK),
    config=TransferConfig,
    init=_local,
    close=_close,
    reload=_reload,
)
rpc = Registration(type="io.containerd.grpc.v1", id="transfer", requires=(_TRANSFER, _STREAMING), init=_rpc)
bindir = Registration(
    type="io.containerd.image-verifier.v1", id="bindir", platforms=("linux",), config=BindirConfig, init=_bindir
)
