"""The table ``[plugins."io.containerd.gc.v1.scheduler"]``."""

from __future__ import annotations

import re
from typing import Any

import attrs

from pycontainerd.contracts.durations import parse
from pycontainerd.contracts.filters import parse as parse_filters

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\Z", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Bytes in ``20GB``, ``512MiB``, ``1.5T``, ``1000``; empty is 0.

    :raises ValueError: it is none of these.
    """
    if not text:
        return 0
    found = _SIZE.match(text)
    if not found:
        raise ValueError(f"{text!r} is no size: for example 20GB, 512MiB")
    unit = found[2].lower()
    return int(float(found[1]) * (1024 if unit.endswith("i") else 1000) ** _POWERS[unit.removesuffix("i")])


def _duration(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    parse(value)


def _duration_or_none(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    parse(value or "0")


def _size(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    parse_size(value)


def _filters(_instance: object, _attribute: attrs.Attribute[Any], value: list[str]) -> None:
    parse_filters(value)


@attrs.frozen
class Policy:
    """A rule by which images go that no container uses, without being asked for.

    ``namespaces``: where it holds; none means everywhere. ``filters``: only for images that match one of these, as in
    ``ctr images ls``. ``max_unused``: an image that was not used for so long goes. ``max_bytes``: while content and
    snapshots take more than this, the longest unused images go. ``keep_last_n_tags``: so many of the newest images of
    each repository stay; alone, without the two before, all others of the repository go.
    """

    namespaces: list[str] = attrs.field(factory=list)
    filters: list[str] = attrs.field(factory=list, validator=_filters)
    max_unused: str = attrs.field(default="", validator=_duration_or_none)
    max_bytes: str = attrs.field(default="", validator=_size)
    keep_last_n_tags: int = 0

    def __attrs_post_init__(self) -> None:
        if not (self.max_unused or self.max_bytes or self.keep_last_n_tags > 0):
            raise ValueError("must have max_unused, max_bytes or keep_last_n_tags: else it would remove every image")

    @property
    def unused_seconds(self) -> float:
        return parse(self.max_unused or "0")

    @property
    def most_bytes(self) -> int:
        return parse_size(self.max_bytes)


@attrs.frozen
class Config:
    """When collections happen, with the keys and defaults of the Go containerd; and which images go by themselves.

    ``pause_threshold``: the share of time (at most 0.5) that collections nobody asked for may take. ``deletion_threshold``:
    so many removals make one due at once; 0: none does. ``mutation_threshold``: so many changes make one due, removals
    or not; 0: none does. ``schedule_delay``: how long a collection that is due waits for more. ``startup_delay``: when the first one
    comes after the start; 0: when something happens. ``policy``: rules that remove unused images, each a table with
    max_unused, max_bytes, keep_last_n_tags, namespaces, filters. ``policy_interval``: how often they are looked at.
    ``pinned``: names of images, with ``*`` and ``?``, that neither rules nor ``ctr images prune`` remove.
    """

    pause_threshold: float = 0.02
    deletion_threshold: int = 0
    mutation_threshold: int = 100
    schedule_delay: str = attrs.field(default="0s", validator=_duration)
    startup_delay: str = attrs.field(default="100ms", validator=_duration)
    policy: list[Policy] = attrs.field(factory=list)
    policy_interval: str = attrs.field(default="1h", validator=_duration)
    pinned: list[str] = attrs.field(factory=list)

    @property
    def schedule_seconds(self) -> float:
        return parse(self.schedule_delay)

    @property
    def startup_seconds(self) -> float:
        return parse(self.startup_delay)

    @property
    def policy_seconds(self) -> float:
        return max(1.0, parse(self.policy_interval))
