"""Getting images in and out: through the transfer service, or by ourselves where the server has none."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import IO

import attrs
import click

from pycontainerd.client import Client
from pycontainerd.client.archive import Naming, import_archive
from pycontainerd.client.transfer import Auth, ImageOptions, Progress, Registry
from pycontainerd.client.unpack import unpack
from pycontainerd.contracts.errors import InvalidArgument, NotImplemented
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.platforms import default_platform, parse
from pycontainerd.contracts.types import EMPTY, Platform, now

from .progress import shown

_CHUNK = 1 << 20


@attrs.frozen
class PullOptions:
    """The flags of ``images pull`` that reach the server."""

    plain_http: bool = False
    user: str = ""
    refresh: str = ""
    hosts_dir: str = ""
    platforms: Sequence[str] = ()
    all_platforms: bool = False
    skip_metadata: bool = False
    labels: Mapping[str, str] = EMPTY
    snapshotter: str = ""
    unpack: bool = True


def auth_of(user: str, refresh: str = "") -> Auth | None:
    """Credentials from ``--user NAME[:PASSWORD]`` (asked for where it is missing) or ``--refresh``."""
    if refresh:
        return Auth("", refresh)
    if not user:
        return None
    name, colon, password = user.partition(":")
    return Auth(name, password if colon else click.prompt("Password", hide_input=True, err=True))


def _platforms(options: PullOptions) -> list[Platform]:
    if options.all_platforms:
        return []
    return [parse(item) for item in options.platforms] or [default_platform()]


def registry_of(reference: str, options: PullOptions) -> Registry:
    """Where and how to reach ``reference``."""
    return Registry(reference, auth_of(options.user, options.refresh), options.hosts_dir, options.plain_http)


async def pull_image(client: Client, reference: str, options: PullOptions) -> Image:
    """Pull an image by the server's transfer service."""
    platforms = _platforms(options)
    # A server that unpacks needs to know for which platform; more than one is asked for only with --platform.
    wanted = ImageOptions(
        labels=options.labels,
        platforms=platforms,
        all_metadata=not options.skip_metadata,
        unpack=[options.snapshotter] if options.unpack else [],
        unpack_platform=platforms[0] if platforms else default_platform(),
    )
    source = registry_of(reference, options)
    if not await _has_transfer(client):
        return await _pull_here(client, source, options)
    with shown(reference) as tell:
        await client.transfer.pull(source, reference, wanted, tell)
    return await client.images.get(reference)


async def _pull_here(client: Client, source: Registry, options: PullOptions) -> Image:
    """Fetch by ourselves and have the server unpack."""
    from pycontainerd.client.fetch import fetch_image

    if source.hosts_dir:
        raise NotImplemented(
            "--hosts-dir needs a server with a transfer service, and this one has none", hint="containerd 1.7 has one"
        )
    platforms = _platforms(options) if options.platforms or options.all_platforms else None
    with shown(source.reference) as tell:
        image = await fetch_image(client, source, platforms=platforms, labels=options.labels, tell=tell)
    if options.unpack:
        platform = platforms[0] if platforms else None
        await unpack(client, image, snapshotter=options.snapshotter, platform=platform)
    return image


@attrs.frozen
class ImportOptions:
    """The flags of ``images import``."""

    base_name: str = ""
    digests: bool = False
    skip_digest_for_named: bool = False
    index_name: str = ""
    platforms: Sequence[str] = ()
    all_platforms: bool = False
    unpack: bool = True
    snapshotter: str = ""
    labels: Mapping[str, str] = EMPTY
    compress: bool = False
    local: bool = False
    sync: bool = False

    @property
    def prefix(self) -> str:
        return self.base_name or f"import-{now():%Y-%m-%d}"


async def import_image(client: Client, source: IO[bytes], options: ImportOptions) -> None:
    """Import an archive; by the server where it can, else from here."""
    served = not options.local and await _has_transfer(client)
    if served:
        await _import_served(client, source, options)
        return
    if options.digests or options.compress:
        raise InvalidArgument("--digests and --compress-blobs need a server with a transfer service (and no --local)")
    platforms = [] if options.all_platforms else [parse(item) for item in options.platforms]
    naming = Naming(options.prefix, bool(options.base_name), options.labels, options.index_name)
    with shown("import") as tell:
        images = await import_archive(client, source, naming, platforms, tell)
    for image in images:
        if options.unpack:
            platform = platforms[0] if platforms else None
            await unpack(client, image, snapshotter=options.snapshotter, platform=platform, sync=options.sync)
        _say_imported(image, options)


def _say_imported(image: Image, options: ImportOptions) -> None:
    click.echo(f"{image.name} ({image.target.digest}) {'unpacked' if options.unpack else 'saved'}")


async def _import_served(client: Client, source: IO[bytes], options: ImportOptions) -> None:
    platforms = _platforms(PullOptions(platforms=options.platforms, all_platforms=options.all_platforms))
    platform = platforms[0] if platforms else default_platform()
    wanted = ImageOptions(
        labels=options.labels,
        platforms=platforms,
        unpack=[options.snapshotter] if options.unpack else [],
        unpack_platform=platform,
    )
    saved: dict[str, None] = {}
    with shown("import") as tell:

        def listen(step: Progress) -> None:
            if step.event == "saved":
                saved[step.name] = None
            tell(step)

        await client.transfer.import_archive(
            _chunks(source),
            wanted,
            base_name=options.prefix,
            overwrite=not options.base_name,
            digests=options.digests,
            skip_digest_for_named=options.skip_digest_for_named,
            index_name=options.index_name,
            compress=options.compress,
            on_progress=listen,
        )
    for name in saved:
        _say_imported(await client.images.get(name), options)


async def _has_transfer(client: Client) -> bool:
    found = await client.introspection.plugins(['type=="io.containerd.transfer.v1"'])
    return any(item.status == "ok" for item in found)


async def _need_transfer(client: Client, what: str) -> None:
    if not await _has_transfer(client):
        raise NotImplemented(f"cannot {what}: the server has no transfer service", hint="containerd has one since 1.7")


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(source.read, _CHUNK):
        yield data


async def export_images(
    client: Client, target: IO[bytes], names: Sequence[str], platforms: Sequence[str], **flags: bool
) -> None:
    """Export images by the server's transfer service."""
    await _need_transfer(client, f"export {', '.join(names)}")
    wanted = [] if flags["all_platforms"] else [parse(item) for item in platforms] or [default_platform()]
    chunks = client.transfer.export_archive(
        names,
        platforms=wanted,
        all_platforms=flags["all_platforms"],
        skip_manifest=flags["skip_manifest"],
        skip_non_distributable=flags["skip_non_distributable"],
    )
    async for chunk in chunks:
        await asyncio.to_thread(target.write, chunk)
    await asyncio.to_thread(target.flush)


async def push_image(client: Client, target: str, name: str, options: PullOptions) -> None:
    """Push the image ``name`` to ``target`` by the server's transfer service."""
    await _need_transfer(client, f"push {name}")
    platforms = [] if options.all_platforms or not options.platforms else [parse(item) for item in options.platforms]
    with shown(target) as tell:
        await client.transfer.push(name, registry_of(target, options), platforms, tell)


def open_input(path: str) -> IO[bytes]:
    """The file at ``path`` for reading; ``-`` is standard input."""
    return sys.stdin.buffer if path == "-" else open(path, "rb")
