"""The table ``[plugins."io.containerd.gc.v1.scheduler"]``."""

from __future__ import annotations

from typing import Any

import attrs

from pycontainerd.contracts.durations import parse


def _duration(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    parse(value)


@attrs.frozen
class Config:
    """When collections happen; the keys and defaults of the Go containerd.

    ``pause_threshold``: the share of time (at most 0.5) that collections nobody asked for may take. ``deletion_threshold``:
    so many removals make one due at once; 0: none does. ``mutation_threshold``: so many changes make one due, removals
    or not; 0: none does. ``schedule_delay``: how long a collection that is due waits for more. ``startup_delay``: when the first one
    comes after the start; 0: when something happens.
    """

    pause_threshold: float = 0.02
    deletion_threshold: int = 0
    mutation_threshold: int = 100
    schedule_delay: str = attrs.field(default="0s", validator=_duration)
    startup_delay: str = attrs.field(default="100ms", validator=_duration)

    @property
    def schedule_seconds(self) -> float:
        return parse(self.schedule_delay)

    @property
    def startup_seconds(self) -> float:
        return parse(self.startup_delay)
