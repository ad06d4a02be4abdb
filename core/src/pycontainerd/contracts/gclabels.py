"""Labels by which a blob keeps its children from collection, as the Go containerd writes them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from . import media_types
from .types import Descriptor

CONTENT = "containerd.io/gc.ref.content"
SNAPSHOT = "containerd.io/gc.ref.snapshot"
UNCOMPRESSED = "containerd.io/uncompressed"
DISTRIBUTION_SOURCE = "containerd.io/distribution.source"
SUBJECT = "containerd.io/manifest.subject"  # annotation of a referrer: the digest of what it is about


def snapshot_label(snapshotter: str) -> str:
    """The label of a config blob that keeps the unpacked image of ``snapshotter`` (its value is the chainID)."""
    return f"{SNAPSHOT}.{snapshotter}"


def prefix(child: Descriptor) -> str:
    """The label that refers to ``child``; one that ends in a dot needs a number (or digest) after it."""
    if SUBJECT in child.annotations:
        return f"{CONTENT}.referrer.sha256."
    if media_types.is_known_config(child.media_type):
        return f"{CONTENT}.config"
    if media_types.is_manifest(child.media_type):
        return f"{CONTENT}.m."
    if media_types.is_layer(child.media_type):
        return f"{CONTENT}.l."
    return f"{CONTENT}."


def child_labels(
    children: Iterable[Descriptor], *, want: Callable[[Descriptor], bool] = lambda _: True
) -> dict[str, str]:
    """The labels that a manifest or index gets for its ``children``, in order; only those that ``want`` accepts count.

    Each kind is numbered from 0: ``….config``, ``….l.0``, ``….l.1``, ``….m.0``, ``….0``.
    """
    labels: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for child in children:
        if not want(child):
            continue
        key = prefix(child)
        number = numbers.get(key, 0)
        numbers[key] = number + 1
        if key.endswith("sha256."):
            key += child.digest.partition(":")[2][:12]
        elif number or key.endswith("."):
            key += str(number)
        labels[key] = child.digest
    return labels


def without_layers(child: Descriptor) -> bool:
    """A ``want`` that leaves layers collectable once they are unpacked."""
    return not media_types.is_layer(child.media_type)
