"""Registration: io.containerd.gc.v1.scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .config import Config

if TYPE_CHECKING:
    from .garbage import Garbage


def _init(ctx: Context[Config]) -> Garbage:
    from .garbage import Garbage

    garbage = Garbage(
        ctx.config,
        ctx.single("io.containerd.metadata.v1"),
        ctx.single("io.containerd.gc-inventory.v1"),
        ctx.log,
    )
    for name in ("pause_threshold", "deletion_threshold", "mutation_threshold", "schedule_delay"):
        ctx.exports["".join(word.title() for word in name.split("_"))] = str(getattr(ctx.config, name))
    garbage.start()
    return garbage


def _close(garbage: Garbage) -> None:
    garbage.close()


registration = Registration(
    type="io.containerd.gc.v1",
    id="scheduler",
    requires=("io.containerd.metadata.v1", "io.containerd.gc-inventory.v1"),
    config=Config,
    init=_init,
    close=_close,
    deadline=60,
)
