"""Layers onto mounts, and mounts to layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pycontainerd.api.convert import descriptor_message, descriptor_record, mount_messages
from pycontainerd.api.services.diff.v1 import diff_pb2 as pb
from pycontainerd.contracts.types import EMPTY, Descriptor, Mount

from .service import Service


class Diff(Service):
    """The differs of the server."""

    SERVICE = "containerd.services.diff.v1.Diff"

    async def apply(self, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = False) -> Descriptor:
        """Apply ``layer``; returns the descriptor of the uncompressed tar (its digest is the diffID)."""
        request = pb.ApplyRequest(diff=descriptor_message(layer), mounts=mount_messages(mounts), sync_fs=sync)
        found: pb.ApplyResponse = await self._stub.unary("Apply", request)
        return descriptor_record(found.applied)

    async def compare(
        self,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        *,
        media_type: str = "",
        ref: str = "",
        labels: Mapping[str, str] = EMPTY,
    ) -> Descriptor:
        """Write the layer that turns ``lower`` into ``upper`` to the content store."""
        request = pb.DiffRequest(
            left=mount_messages(lower), right=mount_messages(upper), media_type=media_type, ref=ref, labels=labels
        )
        found: pb.DiffResponse = await self._stub.unary("Diff", request)
        return descriptor_record(found.diff)
