"""What a reload does to each key of the configuration. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import attrs


class Verdict(enum.StrEnum):
    """What became of a key that changed."""

    APPLIED = "applied"
    RESTART = "needs restart"
    REJECTED = "rejected"


@attrs.frozen
class Change:
    """A key whose configured value is not the one in force when the reload began.

    ``plugin`` is whose key it is (empty: the daemon's), ``message`` what else there is to say.
    """

    key: str
    verdict: Verdict
    plugin: str = ""
    message: str = ""

    @property
    def sentence(self) -> str:
        """The change as a line for people."""
        verdict = (
            f"{self.verdict} of {self.plugin or 'the daemon'}" if self.verdict is Verdict.RESTART else self.verdict
        )
        return f"{self.key}: {verdict}" + (f": {self.message}" if self.message else "")


def differing(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of the keys in which two configs of one class differ."""
    if not attrs.has(type(new)) or type(old) is not type(new):
        if old != new:
            yield prefix
        return
    for field in attrs.fields(type(new)):
        name = f"{prefix}.{field.name}" if prefix else field.name
        yield from differing(getattr(old, field.name), getattr(new, field.name), name)


def key_of(uri: str, name: str) -> str:
    """A plugin's key as it is written in a config file."""
    return f'plugins."{uri}"' + (f".{name}" if name else "")
