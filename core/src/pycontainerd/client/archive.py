"""Importing image archives by the client, for servers without a transfer service (the Go containerd before 1.7).

The archive is read once, front to back, and nothing of it is ever a path here: blobs go to the content store as they
come, and the small files that describe images are kept until the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import secrets
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import attrs

from pycontainerd.contracts import digests, gclabels, media_types
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.manifests import Manifest, descriptor, load
from pycontainerd.contracts.platforms import Matcher
from pycontainerd.contracts.types import EMPTY, Descriptor, Platform

from .content import CHUNK
from .manifest import read
from .transfer import OnProgress, Progress

if TYPE_CHECKING:
    from .client import Client

_BLOB = re.compile(r"blobs/([a-z0-9]+)/([^/]+)\Z")
_MAX_MEMBERS = 100_000
_NAME = "io.containerd.image.name"
_TAG = "org.opencontainers.image.ref.name"


@attrs.define
class _Archive:
    """What was found on the way: descriptions, and by member name the blobs that were stored."""

    index: bytes = b""
    docker: bytes = b""
    stored: dict[str, Descriptor] = attrs.Factory(dict)
    links: dict[str, str] = attrs.Factory(dict)

    def blob(self, name: str) -> Descriptor:
        for _ in range(len(self.links) + 1):
            if name in self.stored:
                return self.stored[name]
            name = self.links.get(name, "")
        raise InvalidArgument(f"the archive's manifest.json names {name!r}, which is not in it")


@attrs.frozen
class Naming:
    """How imported images are named: as they say themselves, or by ``base_name`` and tag."""

    base_name: str
    only_base: bool = False
    labels: Mapping[str, str] = EMPTY
    index_name: str = ""


async def import_archive(
    client: Client,
    source: IO[bytes],
    naming: Naming,
    platforms: Sequence[Platform] = (),
    on_progress: OnProgress = lambda _: None,
) -> list[Image]:
    """Import every image of an OCI or Docker archive; returns them.

    :raises InvalidArgument: it is no such archive.
    :raises FailedPrecondition: a blob is not what its name says.
    """
    async with client.lease() as held:
        archive = await _read(held, source, on_progress)
        targets = await _targets(held, archive, naming)
        matcher = Matcher.exactly(*platforms) if platforms else None
        images = []
        for name, target in targets:
            await label_children(held, target, matcher)
            images.append(await create_or_update(held, Image(name, target, naming.labels)))
        return images


async def _read(client: Client, source: IO[bytes], tell: OnProgress) -> _Archive:
    found = _Archive()
    try:
        with await asyncio.to_thread(tarfile.open, None, "r|*", source) as tar:
            for count in range(_MAX_MEMBERS + 1):
                member = await asyncio.to_thread(tar.next)
                if member is None:
                    return found
                await _member(client, tar, member, found, tell)
                if count == _MAX_MEMBERS:
                    raise InvalidArgument(f"the archive has more than {_MAX_MEMBERS} entries")
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise InvalidArgument(f"cannot read the archive: {exc}") from exc
    return found


async def _member(
    client: Client, tar: tarfile.TarFile, member: tarfile.TarInfo, found: _Archive, tell: OnProgress
) -> None:
    name = member.name.removeprefix("./")
    if member.issym() or member.islnk():
        # docker save links a layer to the same one of another image.
        base = name.rpartition("/")[0] if member.issym() else ""
        found.links[name] = _joined(base, member.linkname)
        return
    file = tar.extractfile(member) if member.isfile() else None
    if file is None:
        return
    if name in ("index.json", "manifest.json"):
        data = await asyncio.to_thread(file.read, media_types.MAX_MANIFEST + 1)
        load_limit(data, name)
        found.index, found.docker = (data, found.docker) if name == "index.json" else (found.index, data)
    elif blob := _BLOB.match(name):
        expected = digests.validate(f"{blob[1]}:{blob[2]}")
        await client.content.write(
            f"import-{expected}", _told(file, expected, member.size, tell), total=member.size, expected=expected
        )
        tell(Progress("saved", expected, (), member.size, member.size))
        found.stored[name] = Descriptor("", expected, member.size)
    elif name.endswith((".json", ".tar")) and name != "oci-layout":
        found.stored[name] = await _loose(client, file, member.size)


def load_limit(data: bytes, name: str) -> None:
    """:raises InvalidArgument: more than a description may have."""
    if len(data) > media_types.MAX_MANIFEST:
        raise InvalidArgument(f"{name} of the archive is larger than {media_types.MAX_MANIFEST} bytes")


def _joined(base: str, link: str) -> str:
    parts: list[str] = base.split("/") if base else []
    for part in link.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)


async def _told(file: IO[bytes], name: str, size: int, tell: OnProgress) -> AsyncIterator[bytes]:
    done = 0
    async for data in _pieces(file):
        done += len(data)
        tell(Progress("importing", name, (), done, size))
        yield data


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(file.read, CHUNK):
        yield data


async def _loose(client: Client, file: IO[bytes], size: int) -> Descriptor:
    """Store a blob whose digest is not known before."""
    state = hashlib.sha256()
    async with client.content.writer(f"import-{secrets.token_hex(8)}", total=size) as ingest:
        async for data in _pieces(file):
            state.update(data)
            await ingest.write(data)
        digest = digests.text(state)
        await ingest.commit(size, digest)
    return Descriptor("", digest, size)


async def _targets(client: Client, archive: _Archive, naming: Naming) -> list[tuple[str, Descriptor]]:
    if archive.index:
        index = load(archive.index, "index.json")
        found = [descriptor(item, "index.json") for item in index.get("manifests") or ()]
        named = [(name, item) for item in found if (name := _name(item.annotations, naming))]
        if naming.index_name:
            named.append((naming.index_name, await _store(client, archive.index, media_types.OCI_INDEX)))
        if not named:
            raise InvalidArgument("the archive names no images", hint="give a --base-name")
        return named
    if archive.docker:
        return [item async for item in _docker(client, archive, naming)]
    raise InvalidArgument("not an image archive: it has neither index.json nor manifest.json")


def _name(annotations: Mapping[str, str], naming: Naming) -> str:
    name, tag = annotations.get(_NAME, ""), annotations.get(_TAG, "")
    if name:
        return name if not naming.only_base or name.startswith(naming.base_name) else ""
    if not tag:
        return ""
    # A tag may hold a whole name (skopeo, buildah write it so).
    return tag if "/" in tag or ":" in tag else f"{naming.base_name}:{tag}"


async def _docker(client: Client, archive: _Archive, naming: Naming) -> AsyncIterator[tuple[str, Descriptor]]:
    for entry in _entries(archive.docker):
        config = attrs.evolve(archive.blob(entry["Config"]), media_type=media_types.DOCKER_CONFIG)
        layers = []
        for path in entry["Layers"]:
            layer = archive.blob(path)
            magic = b"".join([part async for part in client.content.read(layer.digest, 0, min(4, layer.size))])
            kind = media_types.DOCKER_LAYER_GZIP if magic[:2] == b"\x1f\x8b" else media_types.DOCKER_LAYER
            layers.append(attrs.evolve(layer, media_type=kind))
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_types.DOCKER_MANIFEST,
            "config": _plain(config),
            "layers": [_plain(layer) for layer in layers],
        }
        target = await _store(client, json.dumps(manifest, indent=3).encode(), media_types.DOCKER_MANIFEST)
        for tag in entry.get("RepoTags") or ():
            name = familiar(tag)
            if not naming.only_base or name.startswith(naming.base_name):
                yield name, target


def _entries(data: bytes) -> Iterator[dict[str, Any]]:
    try:
        entries = json.load(io.BytesIO(data))
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"manifest.json of the archive is not JSON: {exc}") from None
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not _is_docker_entry(entry):
            raise InvalidArgument("manifest.json of the archive is not a list of images")
        yield entry


def _is_docker_entry(entry: dict[str, Any]) -> bool:
    layers, tags = entry.get("Layers"), entry.get("RepoTags") or []
    if not isinstance(entry.get("Config"), str) or not isinstance(layers, list) or not isinstance(tags, list):
        return False
    return all(isinstance(item, str) for item in (*layers, *tags))


def familiar(name: str) -> str:
    """Docker's short names in full, as archives of Docker mean them: ``busybox:1`` is ``docker.io/library/busybox:1``."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def _plain(value: Descriptor) -> dict[str, object]:
    return {"mediaType": value.media_type, "digest": value.digest, "size": value.size}


async def _store(client: Client, data: bytes, media_type: str) -> Descriptor:
    digest = digests.of(data)
    await client.content.write(f"import-{digest}", data, total=len(data), expected=digest)
    return Descriptor(media_type, digest, len(data))


async def label_children(client: Client, target: Descriptor, matcher: Matcher | None) -> None:
    """Label manifests so that a collection keeps what they refer to; what an index has for other platforms may be missing."""
    document = await read(client, target)
    children = [
        item for item in document.children if await _here(client, item, matcher, isinstance(document, Manifest))
    ]
    labels = gclabels.child_labels(children)
    if labels:
        await client.content.update(target.digest, labels, [f"labels.{key}" for key in labels])
    for child in children:
        if media_types.is_manifest(child.media_type) or media_types.is_index(child.media_type):
            await label_children(client, child, matcher)


async def _here(client: Client, child: Descriptor, matcher: Matcher | None, needed: bool) -> bool:
    if not needed and matcher and child.platform and matcher.rank(child.platform) is None:
        return False
    try:
        await client.content.info(child.digest)
    except NotFound:
        if needed:
            raise
        return False
    return True


async def create_or_update(client: Client, image: Image) -> Image:
    """Name an image; a name that is taken is moved to it."""
    try:
        return await client.images.create(image)
    except AlreadyExists:
        return await client.images.update(image, ["target"])
