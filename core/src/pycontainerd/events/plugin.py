"""Registrations: the exchange and its two edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.contracts.types import AnyValue
from pycontainerd.kernel import Context, Registration

from .exchange import Exchange

if TYPE_CHECKING:
    from .service import EventsRpc, TtrpcEvents

_TYPE = "io.containerd.event.v1"


def _decode(value: AnyValue) -> object | None:
    from .service import decode

    return decode(value)


def _exchange(ctx: Context[None]) -> Exchange:
    return Exchange(ctx.loop, _decode)


def _rpc(ctx: Context[None]) -> EventsRpc:
    from .service import EventsRpc

    return EventsRpc(ctx.single(_TYPE))


def _ttrpc(ctx: Context[None]) -> TtrpcEvents:
    from .service import TtrpcEvents

    return TtrpcEvents(ctx.single(_TYPE))


exchange = Registration(type=_TYPE, id="exchange", init=_exchange)
rpc = Registration(type="io.containerd.grpc.v1", id="events", requires=(_TYPE,), init=_rpc)
ttrpc = Registration(type="io.containerd.ttrpc.v1", id="events", requires=(_TYPE,), init=_ttrpc)
