"""What is in an image: its manifest for a platform, its config, and whether all of it is here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts import manifests, media_types
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.manifests import Index, Manifest
from pycontainerd.contracts.platforms import Matcher, normalize
from pycontainerd.contracts.platforms import format as spelled
from pycontainerd.contracts.types import Descriptor, Platform
from pycontainerd.oci.image import ImageConfig
from pycontainerd.oci.image import parse as parse_config

if TYPE_CHECKING:
    from .client import Client

_MAX_DEPTH = 8  # indexes in indexes


@attrs.frozen
class Resolved:
    """An image for one platform."""

    target: Descriptor
    manifest: Manifest
    config: ImageConfig

    @property
    def chain_id(self) -> str:
        """The name of the snapshot that the image unpacks to; "" where it has no layers."""
        return chain_ids(self.config.diff_ids)[-1] if self.config.diff_ids else ""


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The names of the snapshots of layers (image-spec config.md#layer-chainid)."""
    import hashlib

    found: list[str] = []
    for diff_id in diff_ids:
        text = f"{found[-1]} {diff_id}" if found else ""
        found.append(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if text else diff_id)
    return found


async def read(client: Client, target: Descriptor) -> Manifest | Index:
    """The manifest or index that ``target`` names."""
    data = await client.content.read_all(target.digest, media_types.MAX_MANIFEST)
    return manifests.parse(data, target.media_type, f"manifest {target.digest}")


async def candidates(client: Client, target: Descriptor, depth: int = 0) -> AsyncIterator[tuple[Descriptor, Platform]]:
    """The manifests of an image that are here, with their platforms."""
    document = await read(client, target)
    if isinstance(document, Manifest):
        yield target, target.platform or await _platform(client, document)
        return
    for child in document.manifests:
        if depth < _MAX_DEPTH and (media_types.is_manifest(child.media_type) or media_types.is_index(child.media_type)):
            try:
                async for found in candidates(client, child, depth + 1):
                    yield found
            except NotFound:  # not every platform has to be here
                continue


async def _platform(client: Client, manifest: Manifest) -> Platform:
    if not media_types.is_config(manifest.config.media_type):
        return Platform()
    data = await client.content.read_all(manifest.config.digest, media_types.MAX_MANIFEST)
    return manifests.parse_config(data, f"config {manifest.config.digest}").platform


async def platforms(client: Client, target: Descriptor) -> list[str]:
    """The platforms of an image that are here, spelled, in order."""
    found: list[str] = []
    try:
        async for _, platform in candidates(client, target):
            name = spelled(normalize(platform)) if platform.os else ""
            if name and name not in found:
                found.append(name)
    except NotFound:
        return []
    return found


async def resolve(client: Client, image: Image, platform: Platform | None = None) -> Resolved:
    """The manifest and config of ``image`` for ``platform`` (default: this machine's).

    :raises NotFound: it has none for it, or what is needed is not here.
    """
    found = [item async for item in candidates(client, image.target)]
    index = Matcher.running_on(platform).match([item for _, item in found])
    if index is None:
        have = ", ".join(spelled(item) for _, item in found) or "none"
        raise NotFound(f"image {image.name}: nothing for {_wanted(platform)} is here (there is: {have})")
    target = found[index][0]
    manifest = await read(client, target)
    assert isinstance(manifest, Manifest)
    data = await client.content.read_all(manifest.config.digest, media_types.MAX_MANIFEST)
    return Resolved(target, manifest, parse_config(data))


def _wanted(platform: Platform | None) -> str:
    return spelled(platform) if platform else "this machine's platform"


async def size(client: Client, target: Descriptor, platform: Platform | None = None) -> int:
    """Bytes of an image's content for one platform: index, manifest, config and layers."""
    resolved = await resolve(client, Image("", target), platform)
    total = sum(child.size for child in resolved.manifest.children) + resolved.target.size
    return total + (target.size if target.digest != resolved.target.digest else 0)
