"""Manifests and their children in the content store: reading, labelling, choosing by platform. Blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from pycontainerd.contracts import digests, gclabels, media_types, platforms
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from pycontainerd.contracts.labels import MAX_LABEL
from pycontainerd.contracts.manifests import Index, Manifest, parse
from pycontainerd.contracts.platforms import Matcher
from pycontainerd.contracts.types import EMPTY, Descriptor, Platform

CHUNK = 1 << 20  # bytes
MAX_MANIFESTS = 10_000
MAX_NESTING = 8


def is_document(target: Descriptor) -> bool:
    """A manifest or an index: something with children."""
    return media_types.is_manifest(target.media_type) or media_types.is_index(target.media_type)


def known_platform(target: Descriptor) -> bool:
    """Whether a manifest says to be for the kind of system that this machine is."""
    return target.platform is None or not target.platform.os or target.platform.os == platforms.default_platform().os


def chunks(content: ContentStore, target: Descriptor) -> Iterator[bytes]:
    """The bytes of a blob.

    :raises DataLoss: the descriptor says another size.
    """
    reader = content.open(target.digest)
    try:
        if reader.size != target.size:
            raise DataLoss(f"{target.digest} has {reader.size} bytes, its descriptor says {target.size}")
        offset = 0
        while offset < reader.size and (data := reader.read_at(offset, CHUNK)):
            yield data
            offset += len(data)
    finally:
        reader.close()


def read(content: ContentStore, target: Descriptor) -> bytes:
    """A small blob, whole.

    :raises InvalidArgument: it is larger than manifests may be.
    """
    if target.size > media_types.MAX_MANIFEST:
        raise InvalidArgument(
            f"{target.media_type} {target.digest} is {target.size} bytes long, the limit is {media_types.MAX_MANIFEST}"
        )
    return b"".join(chunks(content, target))


def document(content: ContentStore, target: Descriptor) -> Manifest | Index:
    found = parse(read(content, target), target.media_type, f"{target.media_type} {target.digest}")
    if len(found.children) > MAX_MANIFESTS:
        raise InvalidArgument(f"{target.digest} has {len(found.children)} children, the limit is {MAX_MANIFESTS}")
    return found


def write(content: ContentStore, data: bytes, media_type: str, labels: Mapping[str, str] = EMPTY) -> Descriptor:
    """Store a small blob that was made here."""
    target = Descriptor(media_type, digests.of(data), len(data))
    ref = f"manifest-{target.digest}"
    try:
        writer = content.writer(ref, total=target.size, expected=target.digest)
        try:
            if writer.status().offset != target.size:
                writer.truncate(0)
                writer.write(data)
            writer.commit(target.size, target.digest, labels)
        except AlreadyExists:
            pass
        except BaseException:
            writer.close()
            content.abort(ref)
            raise
    except AlreadyExists:
        pass
    return target


def label_children(content: ContentStore, target: Descriptor, children: Sequence[Descriptor]) -> None:
    """Have ``target`` keep its children from collection."""
    labels = gclabels.child_labels(children)
    if labels:
        content.update(target.digest, labels, [f"labels.{key}" for key in labels])


def label_source(content: ContentStore, digest: str, host: str, path: str) -> None:
    """Note on a blob which repository it came from; a list that would be too long for a label stays as it is."""
    key = f"{gclabels.DISTRIBUTION_SOURCE}.{host}"
    known = content.info(digest).labels.get(key, "")
    repositories = sorted({*known.split(","), path} - {""})
    value = ",".join(repositories)
    if value != known and len(key) + len(value) <= MAX_LABEL:
        content.update(digest, {key: value}, [f"labels.{key}"])


@attrs.frozen
class Choice:
    """Which children of an index are wanted: those for ``platforms`` (none given: all)."""

    platforms: Sequence[Platform] = ()
    all_metadata: bool = False
    limit: int = 0

    @property
    def matcher(self) -> Matcher | None:
        return Matcher.exactly(*self.platforms) if self.platforms else None

    def matches(self, target: Descriptor) -> bool:
        """What says no platform is for all."""
        matcher = self.matcher
        return matcher is None or target.platform is None or matcher.rank(target.platform) is not None

    def serves(self, target: Descriptor, children: Sequence[Descriptor]) -> bool:
        """Whether ``target`` has something for the platforms: an index without any for them is of no use."""
        return not media_types.is_index(target.media_type) or any(self.matches(child) for child in children)

    def missing(self, target: Descriptor, children: Sequence[Descriptor]) -> NotFound:
        """The error for an index that does not serve."""
        there = sorted({platforms.format(child.platform, full=True) for child in children if child.platform})
        wanted = ", ".join(platforms.format(item) for item in self.platforms) or "any platform"
        return NotFound(f"index {target.digest} has no manifest for {wanted}; it has: {', '.join(there) or 'none'}")

    def of(self, target: Descriptor, children: Sequence[Descriptor]) -> list[Descriptor]:
        """The children of ``target`` that are wanted."""
        if media_types.is_index(target.media_type):
            chosen = list(children) if self.all_metadata else [child for child in children if self.matches(child)]
            return self._limited(chosen)
        if self.all_metadata and not self.matches(target):
            return [child for child in children if media_types.is_config(child.media_type)]
        return list(children)

    def _limited(self, children: list[Descriptor]) -> list[Descriptor]:
        matcher = self.matcher
        if self.limit <= 0 or len(children) <= self.limit or matcher is None:
            return children[: self.limit] if self.limit > 0 else children
        worst = len(matcher.order)

        def rank(child: Descriptor) -> int:
            found = matcher.rank(child.platform) if child.platform else None
            return worst if found is None else found

        return sorted(children, key=rank)[: self.limit]


def as_json(target: Descriptor) -> dict[str, Any]:
    """A descriptor as manifests have it."""
    value: dict[str, Any] = {"mediaType": target.media_type, "digest": target.digest, "size": target.size}
    if target.annotations:
        value["annotations"] = dict(target.annotations)
    if target.urls:
        value["urls"] = list(target.urls)
    if target.platform is not None:
        fields = {
            "architecture": target.platform.architecture,
            "os": target.platform.os,
            "os.version": target.platform.os_version,
            "os.features": list(target.platform.os_features),
            "variant": target.platform.variant,
        }
        value["platform"] = {key: item for key, item in fields.items() if item or key in ("architecture", "os")}
    if target.artifact_type:
        value["artifactType"] = target.artifact_type
    return value
