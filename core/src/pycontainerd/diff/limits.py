"""How much a layer may ask for. What exceeds a limit is refused with the limit's name."""

from __future__ import annotations

import attrs

from pycontainerd.contracts.errors import InvalidArgument, ResourceExhausted


@attrs.frozen
class Limits:
    """Bounds on one layer. Sizes in bytes."""

    max_inflated: int = 256 << 30
    max_entries: int = 8_000_000
    max_path: int = 4096
    max_depth: int = 512
    max_pax: int = 1 << 20
    max_xattr: int = 1 << 16
    max_xattrs: int = 256
    max_sparse_regions: int = 1 << 18

    def exceeded(self, name: str, value: int, where: str) -> InvalidArgument | ResourceExhausted:
        """The error for ``value``: budgets of the whole layer are exhausted, single fields are invalid."""
        kind = ResourceExhausted if name in ("max_inflated", "max_entries") else InvalidArgument
        return kind(f"{where}: {value} is over the limit {name} = {getattr(self, name)}")
