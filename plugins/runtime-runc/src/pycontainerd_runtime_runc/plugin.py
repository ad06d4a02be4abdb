"""Registration: io.containerd.runtime-handler.v1.runc."""

from __future__ import annotations

import attrs

from pycontainerd.kernel import Context, Registration


@attrs.frozen
class Config:
    """Nothing to configure: the options of a runtime come with each container."""


@attrs.frozen
class RuncHandler:
    """Claims the runtime name. Whether runc is there shows when a container is made: it may be installed later."""

    name: str = "io.containerd.runc.v2"
    driver: str = "pycontainerd_runtime_runc.driver:driver"


def _init(ctx: Context[Config]) -> RuncHandler:
    ctx.exports["runtime"] = RuncHandler().name
    return RuncHandler()


registration = Registration(
    type="io.containerd.runtime-handler.v1",
    id="runc",
    config=Config,
    platforms=("linux",),
    init=_init,
)
