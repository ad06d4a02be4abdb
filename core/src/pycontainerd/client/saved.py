"""Snapshots to archives and back: lz4 archives with all that a file system has of its files."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Mapping

from pycontainerd.contracts import digests
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, NotFound, NotImplemented
from pycontainerd.contracts.media_types import SAVED_SNAPSHOT
from pycontainerd.contracts.snapshots import Kind
from pycontainerd.contracts.types import EMPTY, Descriptor, Mount

from .client import Client
from .snapshots import Snapshots


@contextlib.asynccontextmanager
async def readable(store: Snapshots, key: str) -> AsyncIterator[list[Mount]]:
    """How to mount the snapshot ``key``; a committed one gets a view for as long as this is open."""
    if (await store.stat(key)).kind is not Kind.COMMITTED:
        yield await store.mounts(key)
        return
    name = f"{key}-view-{secrets.token_hex(4)}"
    mounts = await store.view(name, key)
    try:
        yield mounts
    finally:
        await store.remove(name)


async def save(client: Client, key: str, snapshotter: str = "") -> AsyncIterator[bytes]:
    """The archive of a snapshot, active, view or committed, with what is below it. Nothing stays in the content store."""
    async with client.lease() as held:
        ref = f"save-snapshot-{secrets.token_hex(8)}"
        async with readable(held.snapshots(snapshotter), key) as mounts:
            try:
                archive = await held.diff.compare([], mounts, media_type=SAVED_SNAPSHOT, ref=ref)
            except NotImplemented as exc:
                raise NotImplemented(exc.message, hint="only a pycontainerd saves snapshots") from exc
        try:
            async for chunk in held.content.read(archive.digest):
                yield chunk
        finally:
            # A lease's end leaves that to the next collection, and the archive may be as large as all that is there.
            with contextlib.suppress(NotFound):
                await held.content.delete(archive.digest)


async def restore(
    client: Client,
    name: str,
    archive: AsyncIterable[bytes],
    snapshotter: str = "",
    *,
    active: bool = False,
    labels: Mapping[str, str] = EMPTY,
) -> None:
    """Make an archive the committed snapshot ``name``, or an ``active`` one. It need not be trusted.

    :raises AlreadyExists: the name is taken.
    :raises DataLoss: the archive is damaged. Nothing is left of it then.
    """
    async with client.lease() as held:
        store = held.snapshots(snapshotter)
        await _vacant(store, name)
        stored, new = await _store(held, archive)
        key = name if active else f"restore-{secrets.token_hex(8)}"
        try:
            mounts = await store.prepare(key, "", labels)
            try:
                await held.diff.apply(stored, mounts, sync=True)
                if not active:
                    await store.commit(name, key, labels)
            except BaseException:
                with contextlib.suppress(ContainerdError):  # the first failure is the one to tell
                    await store.remove(key)
                raise
        finally:
            if new:
                await held.content.delete(stored.digest)


async def _vacant(store: Snapshots, name: str) -> None:
    """Better now than when everything is done."""
    with contextlib.suppress(NotFound):
        await store.stat(name)
        raise AlreadyExists(f"snapshot {name}: already exists")


async def _store(client: Client, archive: AsyncIterable[bytes]) -> tuple[Descriptor, bool]:
    """Put an archive into the content store; says whether it was not there before."""
    digest, size = digests.hasher(), 0
    ref = f"restore-snapshot-{secrets.token_hex(8)}"
    async with client.content.writer(ref) as ingest:
        try:
            async for chunk in archive:
                digest.update(chunk)
                size += len(chunk)
                await ingest.write(chunk)
            name = digests.text(digest)
            try:
                await client.content.info(name)
                new = False
            except NotFound:
                new = True
            await ingest.commit(size, name)
        except BaseException:
            with contextlib.suppress(ContainerdError):
                await client.content.abort(ref)
            raise
    return Descriptor(SAVED_SNAPSHOT, name, size), new
