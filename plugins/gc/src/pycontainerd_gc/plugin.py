"""Registration: io.containerd.gc.v1.scheduler."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from pycontainerd.kernel import Context, Registration

from .config import Config

if TYPE_CHECKING:
    from .garbage import Garbage

_EXPORTS = ("pause_threshold", "deletion_threshold", "mutation_threshold", "schedule_delay")


async def _init(ctx: Context[Config]) -> Garbage:
    from .garbage import Garbage

    runtimes = ctx.by_type("io.containerd.runtime.v2")
    garbage = await asyncio.to_thread(
        Garbage,
        ctx.config,
        ctx.single("io.containerd.metadata.v1"),
        ctx.single("io.containerd.gc-inventory.v1"),
        ctx.log,
        uses=os.path.join(ctx.root, "uses.db"),
        tasks=lambda: next(iter(runtimes.values()), None),
    )
    for name in _EXPORTS:
        ctx.exports["".join(word.title() for word in name.split("_"))] = str(getattr(ctx.config, name))
    await asyncio.to_thread(garbage.start)
    garbage.following = asyncio.create_task(garbage.follow(ctx.single("io.containerd.event.v1")))
    return garbage


def _reload(garbage: Garbage, config: Config) -> None:
    garbage.reload(config)


async def _close(garbage: Garbage) -> None:
    if garbage.following is not None:
        garbage.following.cancel()
        await asyncio.gather(garbage.following, return_exceptions=True)
    await asyncio.to_thread(garbage.close)


registration = Registration(
    type="io.containerd.gc.v1",
    id="scheduler",
    requires=("io.containerd.metadata.v1", "io.containerd.gc-inventory.v1", "io.containerd.event.v1"),
    wants=("io.containerd.runtime.v2",),
    config=Config,
    init=_init,
    reload=_reload,
    close=_close,
    deadline=60,
)
