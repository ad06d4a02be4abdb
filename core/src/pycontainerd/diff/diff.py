"""The differs that are up, tried in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.diff import Differ
from pycontainerd.contracts.errors import NotImplemented
from pycontainerd.contracts.types import EMPTY, Descriptor, Mount


class Diff:
    """`contracts.diff.DiffService`: the first differ that knows the media type does the work.

    With ``sync`` the file system is synced after each layer even where the caller does not ask for it.
    """

    def __init__(self, differs: Sequence[Differ], *, sync: bool = False) -> None:
        self._differs = differs
        self._sync = sync

    def apply(
        self, content: ContentStore, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = True
    ) -> Descriptor:
        refusals: list[str] = []
        for differ in self._differs:
            try:
                return differ.apply(content, layer, mounts, sync=sync or self._sync)
            except NotImplemented as exc:
                refusals.append(str(exc))
        raise NotImplemented("; ".join(refusals) or "no differ is running")

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
        refusals: list[str] = []
        for differ in self._differs:
            try:
                return differ.compare(content, lower, upper, media_type=media_type, ref=ref, labels=labels, epoch=epoch)
            except NotImplemented as exc:
                refusals.append(str(exc))
        raise NotImplemented("; ".join(refusals) or "no differ is running")
