"""The labels by which things keep each other (containerd docs/garbage-collection.md). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import attrs

from pycontainerd.contracts.durations import parse as parse_duration
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.gc import CONTAINERS, CONTENT, IMAGES, SNAPSHOTS

ROOT = "containerd.io/gc.root"
EXPIRE = "containerd.io/gc.expire"
FLAT = "containerd.io/gc.flat"
_REF = "containerd.io/gc.ref."
_BACK = "containerd.io/gc.bref."
_CONDITION = "containerd.io/gc.cond.snapshot"
_USED_AT = "containerd.io/gc.cond.value-usedat"

_REF_KINDS = {"content": CONTENT, "image": IMAGES}
_BACK_KINDS = {"container": CONTAINERS, "content": CONTENT, "image": IMAGES}
_WORD = re.compile(r"[a-z]+(?=[./]|\Z)")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_OPERATOR = re.compile(r"([^!<>=]*)([!<>=]=?)(.*)\Z", re.DOTALL)

Found = tuple[str, str, str]


def references(labels: Mapping[str, str]) -> Iterator[Found]:
    """What an object with these labels keeps: the label, and the kind and key it names."""
    for label, value in labels.items():
        if label.startswith(_REF) and (kind := _kind(label[len(_REF) :], _REF_KINDS)):
            yield label, kind, value


def back_references(labels: Mapping[str, str]) -> Iterator[Found]:
    """What keeps an object with these labels."""
    for label, value in labels.items():
        if label.startswith(_BACK) and (kind := _kind(label[len(_BACK) :], _BACK_KINDS)):
            yield label, kind, value


def _kind(rest: str, kinds: Mapping[str, str]) -> str:
    """The kind that ``rest`` of a label begins with; after it, and a dot or a slash, comes whatever its author likes."""
    if rest.startswith("snapshot."):
        return SNAPSHOTS + rest[len("snapshot.") :].partition("/")[0]
    word = _WORD.match(rest)
    return kinds.get(word[0], "") if word else ""


@attrs.frozen
class Condition:
    """The object keeps the snapshot ``key`` as long as ``holds`` for when that was used and the time now (seconds)."""

    label: str
    kind: str
    key: str
    holds: Callable[[float, float], bool]


def conditions(labels: Mapping[str, str]) -> Iterator[Condition]:
    """The conditional references: ``usedat<72h,usedat>…|KEY``, of which one must hold. What is not known never does."""
    for label, value in labels.items():
        alternatives, bar, key = value.partition("|")
        if not label.startswith(_CONDITION) or not bar:
            continue
        kind = SNAPSHOTS + label[len(_CONDITION) :].lstrip("./").partition("/")[0]
        for text in alternatives.split(","):
            if (holds := _test(text)) is not None:
                yield Condition(label, kind, key, holds)


def _test(text: str) -> Callable[[float, float], bool] | None:
    found = _OPERATOR.match(text)
    if not found or found[1] != "usedat" or found[2] not in ("<", ">"):
        return None
    try:
        limit = parse_duration(found[3])
    except InvalidArgument:
        return None
    if found[2] == "<":
        return lambda used, now: now - used < limit
    return lambda used, now: now - used > limit


def used_at(labels: Mapping[str, str]) -> Iterator[float]:
    """When a snapshot says that it was used, which conditions ask for."""
    for label, value in labels.items():
        if label.startswith(_USED_AT) and (moment := parse_time(value)) is not None:
            yield moment


def expiry(labels: Mapping[str, str]) -> float | None:
    """When the object expires, in seconds since the epoch. None: never, or the label says no time."""
    return parse_time(labels[EXPIRE]) if EXPIRE in labels else None


def is_root(labels: Mapping[str, str]) -> bool:
    return any(label.startswith(ROOT) for label in labels)


def parse_time(text: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None where it is none."""
    if not _RFC3339.match(text):
        return None
    try:
        return datetime.fromisoformat(text.replace(",", ".")).timestamp()
    except (ValueError, OverflowError):
        return None
