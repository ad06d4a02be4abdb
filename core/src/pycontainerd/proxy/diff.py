"""A differ behind a socket: `contracts.diff.Differ` over containerd.services.diff.v1.

The other side reads and writes blobs itself, as a client of this daemon: it is told the namespace and the lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pycontainerd.api.convert import descriptor_message, descriptor_record, mount_messages, timestamp
from pycontainerd.api.services.diff.v1 import diff_pb2 as pb
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.types import EMPTY, Descriptor, Mount, Scope

from .link import Link

SERVICE = "containerd.services.diff.v1.Diff"
DEADLINES: Mapping[str, float] = {"Apply": 1800, "Diff": 1800}  # seconds; a layer may have many gigabytes


class ProxyDiffer:
    """See `contracts.diff.Differ`."""

    def __init__(self, link: Link, scope: Scope | None = None) -> None:
        self._link = link
        self._scope = scope

    def apply(
        self, content: ContentStore, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = True
    ) -> Descriptor:
        request = pb.ApplyRequest(diff=descriptor_message(layer), mounts=mount_messages(mounts), sync_fs=sync)
        response: pb.ApplyResponse = self._link.unary(SERVICE, "Apply", request, self._in_name_of(content))
        return descriptor_record(response.applied)

    def compare(
        self,
        content: ContentStore,
        lower: Sequence[Mount],
        upper: Sequence[Mount],
        *,
        media_type: str = "",
        ref: str = "",
        labels: Mapping[str, str] = EMPTY,
        epoch: datetime | None = None,
    ) -> Descriptor:
        request = pb.DiffRequest(
            left=mount_messages(lower),
            right=mount_messages(upper),
            media_type=media_type,
            ref=ref,
            labels=labels,
            source_date_epoch=timestamp(epoch),
        )
        response: pb.DiffResponse = self._link.unary(SERVICE, "Diff", request, self._in_name_of(content))
        return descriptor_record(response.diff)

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def _in_name_of(self, content: ContentStore) -> Scope | None:
        """Whose blobs: the namespace in the config, else that of the content the layer comes from or goes to."""
        return self._scope or getattr(content, "scope", None)
