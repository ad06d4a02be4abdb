"""Registrations: the exchange and its two edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.contracts.events import Envelope
from pycontainerd.contracts.hooks import HOOK, MARK, Hooks
from pycontainerd.contracts.types import AnyValue
from pycontainerd.kernel import Context, Registration
from pycontainerd.kernel.hooks import Implementations

from .exchange import Exchange
from .taps import Taps

if TYPE_CHECKING:
    from .service import EventsRpc, TtrpcEvents

_TYPE = "io.containerd.event.v1"


def _decode(value: AnyValue) -> object | None:
    from .service import decode

    return decode(value)


def _opened(envelope: Envelope) -> Envelope:
    from .service import opened

    return opened(envelope)


def _exchange(ctx: Context[None]) -> Exchange:
    taps = Taps(Implementations.in_types(Hooks, MARK, ctx, (HOOK,)), _opened, ctx.log)
    return Exchange(ctx.loop, _decode, taps=taps)


def _close(exchange: Exchange) -> None:
    exchange.close()


def _rpc(ctx: Context[None]) -> EventsRpc:
    from .service import EventsRpc

    return EventsRpc(ctx.single(_TYPE))


def _ttrpc(ctx: Context[None]) -> TtrpcEvents:
    from .service import TtrpcEvents

    return TtrpcEvents(ctx.single(_TYPE))


exchange = Registration(type=_TYPE, id="exchange", init=_exchange, close=_close)
rpc = Registration(type="io.containerd.grpc.v1", id="events", requires=(_TYPE,), init=_rpc)
ttrpc = Registration(type="io.containerd.ttrpc.v1", id="events", requires=(_TYPE,), init=_ttrpc)
