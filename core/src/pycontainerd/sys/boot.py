"""Which boot of the machine this is."""

from __future__ import annotations

import functools


@functools.cache
def boot_id() -> str:
    """The kernel's id of this boot; ``unknown``, which is never a real one, where it cannot be read."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return handle.read().strip() or "unknown"
    except OSError:
        return "unknown"  # two unknowns are taken for one boot
