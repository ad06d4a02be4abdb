"""Registration: io.containerd.runtime-handler.v1.crun."""

from __future__ import annotations

import attrs

from pycontainerd.kernel import Context, Registration


@attrs.frozen
class Config:
    """The crun runtime."""

    binary: str = attrs.field(
        default="crun",
        metadata={
            "doc": "The crun that is looked at when the daemon starts. Containers use the one on PATH, or BinaryName in their options."
        },
    )


@attrs.frozen
class CrunHandler:
    """Claims the runtime name. Whether crun can work shows when a container is made: what is in the way may go."""

    name: str = "io.containerd.crun.v2"
    driver: str = "pycontainerd_runtime_crun.driver:driver"


def _init(ctx: Context[Config]) -> CrunHandler:
    from .probe import probe

    handler = CrunHandler()
    found = probe(ctx.config.binary)
    ctx.exports["runtime"] = handler.name
    for key in ("path", "version", "problem"):
        if value := getattr(found, key):
            ctx.exports[key] = value
    if found.features:
        ctx.exports["features"] = " ".join(found.features)
    if found.problem:
        ctx.log.warning(f"containers of {handler.name} will not start", problem=found.problem)
    return handler


registration = Registration(
    type="io.containerd.runtime-handler.v1",
    id="crun",
    config=Config,
    platforms=("linux",),
    init=_init,
)
