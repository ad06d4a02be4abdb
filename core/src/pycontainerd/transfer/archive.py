"""Importing an image archive: OCI layouts, and what ``docker save`` writes, into the content store. Blocks.

The archive is read once. Blobs are stored as they come, each checked against the digest its name says; what ties them
together is looked at in the end.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from pycontainerd.contracts import digests, gclabels, media_types
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.errors import AlreadyExists, DataLoss, InvalidArgument
from pycontainerd.contracts.manifests import load, parse_config
from pycontainerd.contracts.types import EMPTY, Descriptor

from .contents import as_json, chunks, read, write
from .naming import IMAGE_NAME, REF_NAME
from .tarstream import Member, Readable, members

_CHUNK = 1 << 20
_BLOB = re.compile(r"blobs/([a-z0-9]+)/([^/]+)\Z")
_DESCRIPTIONS = ("index.json", "manifest.json", "oci-layout")
_LEGACY = ("repositories", "VERSION")
_MAX_LAYERS = 10_000
_SHORT = re.compile(r"[^/]*[.:][^/]*/|localhost/")


@attrs.define
class _Found:
    """What the archive has: descriptions whole, blobs by member name, links."""

    texts: dict[str, bytes] = attrs.Factory(dict)
    blobs: dict[str, Descriptor] = attrs.Factory(dict)
    links: dict[str, str] = attrs.Factory(dict)

    def blob(self, name: str, what: str) -> Descriptor:
        for _ in range(len(self.links) + 1):
            if name in self.blobs:
                return self.blobs[name]
            name = self.links.get(name, "")
        raise InvalidArgument(f"the archive's manifest.json names {what}, which is not in the archive")


def import_archive(content: ContentStore, source: Iterable[bytes], *, compress: bool = False) -> Descriptor:
    """Store the blobs of an archive; returns the descriptor of its index (for Docker's, one made here).

    :raises InvalidArgument: it is no image archive, or not a valid one.
    :raises DataLoss: it is truncated, or a blob is not what its name says.
    """
    found = _Found()
    for member in members(source):
        _take(content, member, found)
    if "oci-layout" in found.texts:
        version = load(found.texts["oci-layout"], "oci-layout").get("imageLayoutVersion")
        if version != "1.0.0":
            raise InvalidArgument(f"the archive's OCI layout has version {version!r:.40}; 1.0.0 is known")
        if "index.json" not in found.texts:
            raise InvalidArgument("the archive has an oci-layout and no index.json")
    if "index.json" in found.texts:
        load(found.texts["index.json"], "index.json")
        return write(content, found.texts["index.json"], media_types.OCI_INDEX)
    if "manifest.json" not in found.texts:
        raise InvalidArgument("this is no image archive: it has neither index.json nor manifest.json")
    return _docker_index(content, found, compress)


def _take(content: ContentStore, member: Member, found: _Found) -> None:
    if member.file is None:
        found.links[member.name] = member.link
    elif member.name in _DESCRIPTIONS:
        if member.size > media_types.MAX_MANIFEST:
            raise InvalidArgument(
                f"the archive's {member.name} is {member.size} bytes long, the limit is {media_types.MAX_MANIFEST}"
            )
        found.texts[member.name] = member.file.read()
    elif member.name not in _LEGACY:
        blob = _BLOB.match(member.name)
        expected = digests.validate(f"{blob[1]}:{blob[2]}") if blob else ""
        found.blobs[member.name] = _store(content, member.file, member.size, member.name, expected)


def _store(content: ContentStore, file: Readable, size: int, name: str, expected: str) -> Descriptor:
    """Store one file, also one that is there already: the archive must be read on in any case."""
    state = digests.hasher(expected)
    ref = f"tar-{secrets.token_hex(6)}-{name}"
    try:
        writer = content.writer(ref, total=size, expected=expected)
    except AlreadyExists:
        while data := file.read(_CHUNK):
            state.update(data)
        return _checked(name, digests.text(state), expected, size)
    try:
        whole = writer.status().offset == size and size > 0  # another namespace has it
        while data := file.read(_CHUNK):
            state.update(data)
            if not whole:
                writer.write(data)
        target = _checked(name, digests.text(state), expected, size)
        writer.commit(size, target.digest)
    except AlreadyExists:
        return target
    except BaseException:
        abort(content, ref, writer)
        raise
    return target


def _checked(name: str, digest: str, expected: str, size: int) -> Descriptor:
    if expected and digest != expected:
        raise DataLoss(f"the archive's {name} has the digest {digest}: it is not what its name says")
    return Descriptor("", digest, size)


def abort(content: ContentStore, ref: str, writer: Any) -> None:
    """Leave nothing of an ingest."""
    from pycontainerd.contracts.errors import NotFound

    writer.close()
    try:
        content.abort(ref)
    except NotFound:
        pass


def _docker_index(content: ContentStore, found: _Found, compress: bool) -> Descriptor:
    """The index for what Docker's manifest.json lists."""
    manifests: list[dict[str, Any]] = []
    for entry in _entries(found.texts["manifest.json"]):
        config = attrs.evolve(
            found.blob(entry["Config"], f"config {entry['Config']!r:.200}"), media_type=media_types.DOCKER_CONFIG
        )
        layers = [_layer(content, found.blob(name, f"layer {name!r:.200}"), compress) for name in entry["Layers"]]
        value = {
            "schemaVersion": 2,
            "mediaType": media_types.DOCKER_MANIFEST,
            "config": as_json(config),
            "layers": [as_json(layer) for layer in layers],
        }
        target = write(content, json.dumps(value).encode(), media_types.DOCKER_MANIFEST)
        platform = parse_config(read(content, config), f"config {config.digest}").platform
        target = attrs.evolve(target, platform=platform if platform.os else None)
        manifests.extend(
            as_json(attrs.evolve(target, annotations=notes)) for notes in _annotations(entry.get("RepoTags") or [])
        )
    index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests}
    return write(content, json.dumps(index).encode(), media_types.OCI_INDEX)


def _annotations(tags: Sequence[str]) -> Iterator[dict[str, str]]:
    """For each name of an image its annotations; one without for an image without names."""
    for tag in tags:
        name = full_name(tag)
        yield {IMAGE_NAME: name, REF_NAME: name.rpartition("/")[2].rpartition(":")[2]}
    if not tags:
        yield {}


def full_name(tag: str) -> str:
    """Docker's short names in full: ``busybox`` is ``docker.io/library/busybox:latest``.

    :raises InvalidArgument: it is no name of an image.
    """
    from pycontainerd.registry import reference

    name = tag if _SHORT.match(tag) else f"docker.io/{tag}" if "/" in tag else f"docker.io/library/{tag}"
    if "@" not in name and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return str(reference.parse(name))


def _entries(data: bytes) -> list[dict[str, Any]]:
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"the archive's manifest.json is not JSON: {exc}") from None
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries) or len(entries) > _MAX_LAYERS:
        raise InvalidArgument("the archive's manifest.json is not a list of images with Config, RepoTags and Layers")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        return False
    layers, tags = entry.setdefault("Layers", []) or [], entry.get("RepoTags") or []
    entry["Layers"] = layers
    if not isinstance(layers, list) or not isinstance(tags, list) or len(layers) > _MAX_LAYERS:
        return False
    return all(isinstance(item, str) for item in (*layers, *tags))


def _layer(content: ContentStore, layer: Descriptor, compress: bool) -> Descriptor:
    reader = content.open(layer.digest)
    try:
        magic = reader.read_at(0, 4)
    finally:
        reader.close()
    if magic[:2] == b"\x1f\x8b":
        return attrs.evolve(layer, media_type=media_types.DOCKER_LAYER_GZIP)
    if magic == b"\x28\xb5\x2f\xfd":
        return attrs.evolve(layer, media_type=media_types.DOCKER_LAYER_ZSTD)
    plain = attrs.evolve(layer, media_type=media_types.DOCKER_LAYER)
    return _compressed(content, plain) if compress else plain


def _compressed(content: ContentStore, layer: Descriptor) -> Descriptor:
    """The layer as gzip, which knows what it was before."""
    from isal import isal_zlib

    ref = f"compress-blob-{layer.digest.replace(':', '-')}-{secrets.token_hex(4)}"
    writer = content.writer(ref)
    try:
        deflate = isal_zlib.compressobj(wbits=31)
        for data in chunks(content, layer):
            writer.write(deflate.compress(data))
        writer.write(deflate.flush())
        digest, size = writer.digest(), writer.status().offset
        try:
            writer.commit(size, digest, {gclabels.UNCOMPRESSED: layer.digest})
        except AlreadyExists:
            pass
    except BaseException:
        abort(content, ref, writer)
        raise
    return Descriptor(media_types.DOCKER_LAYER_GZIP, digest, size, EMPTY)
