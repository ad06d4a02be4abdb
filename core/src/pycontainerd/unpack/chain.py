"""ChainIDs: names of stacks of layers (OCI image-spec config.md#layer-chainid). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pycontainerd.contracts import digests


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """For each layer the chainID of the stack that ends with it."""
    result: list[str] = []
    for diff_id in diff_ids:
        result.append(digests.of(f"{result[-1]} {diff_id}".encode()) if result else diff_id)
    return result
