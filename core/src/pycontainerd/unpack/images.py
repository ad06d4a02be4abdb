"""Finding in a content store what an image is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pycontainerd.contracts import media_types, platforms
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.contracts.manifests import ImageConfig, Index, Manifest, parse, parse_config
from pycontainerd.contracts.types import Descriptor, Platform

_MAX_NESTING = 8  # indexes in indexes
_MAX_MANIFESTS = 10_000


def read_blob(content: ContentStore, target: Descriptor) -> bytes:
    """A small blob (manifest, index, config), whole.

    :raises NotFound: it is not in the store.
    :raises InvalidArgument: it is larger than manifests may be.
    """
    size = max(content.info(target.digest).size, target.size)
    if size > media_types.MAX_MANIFEST:
        raise InvalidArgument(
            f"{target.media_type} {target.digest} is {size} bytes long, the limit is {media_types.MAX_MANIFEST}"
        )
    reader = content.open(target.digest)
    try:
        parts: list[bytes] = []
        offset = 0
        while offset < size and (data := reader.read_at(offset, size - offset)):
            parts.append(data)
            offset += len(data)
    finally:
        reader.close()
    return b"".join(parts)


def read_manifest(content: ContentStore, target: Descriptor) -> Manifest | Index:
    """The manifest or index that ``target`` names; errors as in `read_blob` and `contracts.manifests.parse`."""
    return parse(read_blob(content, target), target.media_type, f"{target.media_type} {target.digest}")


def read_config(content: ContentStore, target: Descriptor) -> ImageConfig:
    return parse_config(read_blob(content, target), f"config {target.digest}")


def select(content: ContentStore, target: Descriptor, platform: Platform | None) -> tuple[Descriptor, Manifest]:
    """The manifest of ``target`` that runs best on ``platform`` (default: this machine).

    A manifest that is itself the target is taken for whatever platform it is. In an index, one without a platform is
    looked at only where none with one matches; then its config tells.

    :raises NotFound: there is none, or it is not in the store.
    """
    wanted = platform or platforms.default_platform()
    found = read_manifest(content, target)
    if isinstance(found, Manifest):
        return target, found
    matcher = platforms.Matcher.running_on(wanted)
    candidates = list(_flatten(content, found, 1))
    told = [(child.platform, child) for child in candidates if child.platform is not None]
    best = matcher.match([platform for platform, _ in told])
    if best is not None:
        return told[best][1], _manifest(content, told[best][1])
    for child in candidates:
        if child.platform is None:
            manifest = _manifest(content, child)
            if media_types.is_config(manifest.config.media_type):
                config = read_config(content, manifest.config)
                if matcher.match([config.platform]) is not None:
                    return child, manifest
    there = ", ".join(sorted({platforms.format(platform, full=True) for platform, _ in told})) or "none"
    raise NotFound(f"index {target.digest} has no manifest for {platforms.format(wanted)}; it has: {there}")


def _manifest(content: ContentStore, target: Descriptor) -> Manifest:
    found = read_manifest(content, target)
    assert isinstance(found, Manifest)  # its media type was looked at
    return found


def _flatten(content: ContentStore, index: Index, depth: int) -> Iterator[Descriptor]:
    """The manifests of an index and of the indexes in it."""
    _bounded(index.manifests, depth)
    for child in index.manifests:
        if media_types.is_manifest(child.media_type):
            yield child
        elif media_types.is_index(child.media_type):
            try:
                nested = read_manifest(content, child)
            except NotFound:
                continue  # an index that was not fetched has nothing that could be unpacked
            assert isinstance(nested, Index)
            yield from _flatten(content, nested, depth + 1)


def _bounded(manifests: Sequence[Descriptor], depth: int) -> None:
    if depth > _MAX_NESTING:
        raise InvalidArgument(f"indexes are nested more than {_MAX_NESTING} deep")
    if len(manifests) > _MAX_MANIFESTS:
        raise InvalidArgument(f"an index has {len(manifests)} manifests, the limit is {_MAX_MANIFESTS}")
