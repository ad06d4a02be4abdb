"""Work that has to end even when who waits for it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


async def shielded(work: Any) -> None:
    """Have ``work`` done, even when we are being cancelled."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
