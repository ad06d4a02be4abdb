"""Image manifests, indexes and configs (OCI image-spec; Docker's schema 2): bytes from anywhere to checked records. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from . import digests, media_types
from .errors import InvalidArgument
from .types import EMPTY, Descriptor, Platform

_MAX_STRING = 64 << 10  # of one field of a descriptor


@attrs.frozen
class Manifest:
    """An image manifest. ``config`` and ``layers`` are descriptors as the manifest has them."""

    media_type: str
    config: Descriptor
    layers: Sequence[Descriptor]
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = EMPTY

    @property
    def children(self) -> list[Descriptor]:
        """What the manifest needs, in the order that its labels are numbered in."""
        return [self.config, *self.layers]


@attrs.frozen
class Index:
    """An image index (manifest list)."""

    media_type: str
    manifests: Sequence[Descriptor]
    annotations: Mapping[str, str] = EMPTY

    @property
    def children(self) -> list[Descriptor]:
        return list(self.manifests)


@attrs.frozen
class ImageConfig:
    """What of an image's config matters to unpacking: the platform it is for, and the digest of each plain layer."""

    platform: Platform
    rootfs_type: str
    diff_ids: Sequence[str]


def load(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object from untrusted bytes.

    :raises InvalidArgument: it is too large, not JSON, or not an object.
    """
    if len(data) > media_types.MAX_MANIFEST:
        raise InvalidArgument(f"{what} is {len(data)} bytes long, the limit is {media_types.MAX_MANIFEST}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"{what} is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is not a JSON object")
    return value


def parse(data: bytes, media_type: str, what: str) -> Manifest | Index:
    """A manifest or an index, as ``media_type`` says.

    :raises InvalidArgument: it is malformed, or it says itself to be something else (a document that is a manifest to
        one reader and an index to another could carry what was never verified: CVE-2021-41190).
    """
    value = load(data, what)
    claimed = value.get("mediaType", "")
    if claimed and claimed != media_type:
        raise InvalidArgument(f"{what} has media type {claimed!r} where {media_type!r} was announced")
    if media_types.is_index(media_type):
        if "config" in value or "layers" in value or "fsLayers" in value:
            raise InvalidArgument(f"{what} is announced as an index and has layers")
        return Index(
            media_type,
            [descriptor(item, what) for item in _list(value, "manifests", what)],
            _strings(value.get("annotations"), what),
        )
    if not media_types.is_manifest(media_type):
        raise InvalidArgument(f"{what} is of type {media_type!r}, which is neither a manifest nor an index")
    if "manifests" in value or "fsLayers" in value:
        raise InvalidArgument(f"{what} is announced as a manifest and has manifests or layers of another schema")
    subject = value.get("subject")
    return Manifest(
        media_type,
        descriptor(value.get("config"), what),
        [descriptor(item, what) for item in _list(value, "layers", what)],
        None if subject is None else descriptor(subject, what),
        _strings(value.get("annotations"), what),
    )


def parse_config(data: bytes, what: str) -> ImageConfig:
    """The config of an image.

    :raises InvalidArgument: it is malformed.
    """
    value = load(data, what)
    rootfs = value.get("rootfs") or {}
    if not isinstance(rootfs, dict):
        raise InvalidArgument(f"{what}: rootfs is not an object")
    diff_ids = [digests.validate(_string(item, "diff_ids", what)) for item in _list(rootfs, "diff_ids", what)]
    return ImageConfig(_platform(value, what), _string(rootfs.get("type", ""), "rootfs.type", what), diff_ids)


def descriptor(value: Any, what: str) -> Descriptor:
    """A descriptor.

    :raises InvalidArgument: it is malformed; in particular its digest must be one.
    """
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what}: {value!r:.80} is not a descriptor")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise InvalidArgument(f"{what}: {size!r:.40} is not the size of anything")
    platform = value.get("platform")
    return Descriptor(
        _string(value.get("mediaType"), "mediaType", what),
        digests.validate(_string(value.get("digest"), "digest", what)),
        size,
        annotations=_strings(value.get("annotations"), what),
        urls=tuple(_string(url, "urls", what) for url in _list(value, "urls", what)),
        platform=None if platform is None else _platform(platform, what),
        artifact_type=_string(value.get("artifactType", ""), "artifactType", what),
    )


def _platform(value: Any, what: str) -> Platform:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what}: {value!r:.80} is not a platform")
    fields = ("os", "architecture", "variant", "os.version")
    names = [_string(value.get(key) or "", key, what) for key in fields]
    features = tuple(_string(item, "os.features", what) for item in _list(value, "os.features", what))
    return Platform(names[0], names[1], names[2], names[3], features)


def _list(value: Mapping[str, Any], key: str, what: str) -> list[Any]:
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise InvalidArgument(f"{what}: {key} is not a list")
    return found


def _string(value: Any, key: str, what: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_STRING:
        raise InvalidArgument(f"{what}: {key} is not a string of at most {_MAX_STRING} characters: {value!r:.80}")
    return value


def _strings(value: Any, what: str) -> Mapping[str, str]:
    if value is None:
        return EMPTY
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what}: annotations are not an object")
    return {key: _string(item, "annotations", what) for key, item in value.items()}
