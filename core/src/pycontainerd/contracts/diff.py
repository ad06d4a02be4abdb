"""Differs: layers to file systems and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from .content import ContentStore
from .types import EMPTY, Descriptor, Mount


class Differ(Protocol):
    """``io.containerd.differ.v1``. Thread-safe and synchronous."""

    def apply(
        self, content: ContentStore, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = True
    ) -> Descriptor:
        """Apply ``layer`` onto ``mounts`` and return the descriptor of the uncompressed tar (its digest is the diffID).

        With ``sync`` the file system is synced before returning.

        :raises NotImplemented: the media type is not one this differ knows.
        :raises DataLoss: the layer is corrupt or truncated.
        :raises InvalidArgument: an entry would leave the root, or a limit is exceeded.
        """
        ...

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
        """Write the layer that turns ``lower`` into ``upper`` to ``content``.

        The blob gets ``labels`` and ``containerd.io/uncompressed`` (its diffID). No time in it is later than ``epoch``,
        so that the same files make the same layer.
        """
        ...


class DiffService(Protocol):
    """``io.containerd.service.v1.diff-service``: the differs that are up, tried in order."""

    def apply(
        self, content: ContentStore, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = True
    ) -> Descriptor: ...

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
    ) -> Descriptor: ...
