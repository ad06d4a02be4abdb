"""Registrations: the exchange and its two edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .exchange import Exchange

if TYPE_CHECKING:
    from .service import EventsRpc, TtrpcEvents


def _exchange(ctx: Context[None]) -> Exchange:
    return Exchange(ctx.loop)


def _rpc(ctx: Context[None]) -> EventsRpc:
    from .service import EventsRpc

    return EventsRpc(ctx.single("io.containerd.event.v1"))


def _ttrpc(ctx: Context[None]) -> TtrpcEvents:
    from .service import TtrpcEvents

    return TtrpcEvents(ctx.single("io.containerd.event.v1"))


exchange = Registration(type="io.containerd.event.v1", id="exchange", init=_exchange)
rpc = Registration(type="io.containerd.grpc.v1", id="events", requires=("io.containerd.event.v1",), init=_rpc)
ttrpc = Registration(type="io.containerd.ttrpc.v1", id="events", requires=("io.containerd.event.v1",), init=_ttrpc)
