"""The differs that are configured, those that are up tried in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.diff import Differ
from pycontainerd.contracts.errors import NotImplemented
from pycontainerd.contracts.types import EMPTY, Descriptor, Mount


class Diff:
    """`contracts.diff.DiffService`: the first differ that knows the media type does the work.

    ``differs`` are those that are up, now and later; ``order`` has the names to try. With ``sync`` the file system is
    synced after each layer even where the caller does not ask for it. ``why(name)`` says why a differ is not there.
    """

    def __init__(
        self,
        differs: Mapping[str, Differ],
        order: Sequence[str],
        *,
        sync: bool = False,
        why: Callable[[str], str] = "differ {} is not running".format,
    ) -> None:
        self.order = order
        self.sync = sync
        self._differs = differs
        self._why = why

    def apply(
        self, content: ContentStore, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool = True
    ) -> Descriptor:
        refusals: list[str] = []
        for differ in self._up(refusals):
            try:
                return differ.apply(content, layer, mounts, sync=sync or self.sync)
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
        for differ in self._up(refusals):
            try:
                return differ.compare(content, lower, upper, media_type=media_type, ref=ref, labels=labels, epoch=epoch)
            except NotImplemented as exc:
                refusals.append(str(exc))
        raise NotImplemented("; ".join(refusals) or "no differ is running")

    def _up(self, refusals: list[str]) -> Iterator[Differ]:
        for name in self.order:
            differ = self._differs.get(name)
            if differ is None:
                refusals.append(self._why(name))
            else:
                yield differ
