"""aiohttp, imported when a registry is first talked to: it is a third of what a daemon's start would cost."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["aiohttp", "load"]


def load() -> Any:
    """Import aiohttp now; call it off the event loop before the first use."""
    return importlib.import_module("aiohttp")


if TYPE_CHECKING:
    import aiohttp
else:

    class _Late:
        def __getattr__(self, name: str) -> Any:
            return getattr(load(), name)

    aiohttp = _Late()
