"""Whether what is on disk of an image is what it should be: its blobs by their digests, its layers by unpacking them anew.

It needs nothing of the server that others do not have, but the server's files must be this machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts.errors import ContainerdError, DataLoss, FailedPrecondition, NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.leases import Resource
from pycontainerd.contracts.types import Descriptor, Mount, Platform
from pycontainerd.sys.compare import differences, own_directory
from pycontainerd.sys.mount import mounted

from .manifest import Resolved, chain_ids, resolve
from .snapshots import Snapshots
from .unpack import unpack

if TYPE_CHECKING:
    from .client import Client


@attrs.frozen
class Fault:
    """What is wrong: ``kind`` is ``content`` or ``layer``, ``key`` a digest or the name of a snapshot."""

    kind: str
    key: str
    reason: str


@attrs.define
class Verdict:
    """How an image stands: how many blobs and layers were looked at, what is wrong, what was repaired."""

    image: str
    blobs: int = 0
    layers: int = 0
    faults: list[Fault] = attrs.field(factory=list)
    repaired: list[Fault] = attrs.field(factory=list)


async def verify(client: Client, image: Image, *, snapshotter: str = "", platform: Platform | None = None) -> Verdict:
    """Look at everything of ``image`` for ``platform`` that is here."""
    verdict = Verdict(image.name)
    try:
        resolved = await resolve(client, image, platform)
    except (ContainerdError, ValueError) as exc:
        verdict.faults.append(Fault("content", image.target.digest, str(exc)))
        return verdict
    bad = set()
    for blob in _blobs(image, resolved):
        verdict.blobs += 1
        reason = await _blob(client, blob)
        if reason:
            bad.add(blob.digest)
            verdict.faults.append(Fault("content", blob.digest, reason))
    async with client.lease() as held:
        await _layers(held, held.snapshots(snapshotter), resolved, bad, verdict)
    return verdict


async def repair(client: Client, image: Image, verdict: Verdict, *, snapshotter: str = "") -> Verdict:
    """Make damaged layers anew, and take damaged blobs away so that a pull brings them again.

    What it could do moves from ``faults`` to ``repaired``.
    """
    layers = [fault for fault in verdict.faults if fault.kind == "layer"]
    left = [await _take_away(client, fault, image) for fault in verdict.faults if fault.kind == "content"]
    if layers:
        try:
            await _unpack_again(client, image, {fault.key for fault in layers}, snapshotter)
            verdict.repaired += layers
        except ContainerdError as exc:
            left += [attrs.evolve(fault, reason=f"{fault.reason}; not repaired: {exc}") for fault in layers]
    verdict.faults = left
    return verdict


def _blobs(image: Image, resolved: Resolved) -> Iterator[Descriptor]:
    if image.target.digest != resolved.target.digest:
        yield image.target
    yield resolved.target
    yield resolved.manifest.config
    yield from {layer.digest: layer for layer in resolved.manifest.layers}.values()


async def _blob(client: Client, blob: Descriptor) -> str:
    """Why it is not what it should be; one that is not here at all is for others to miss."""
    algorithm, _, wanted = blob.digest.partition(":")
    state, size = hashlib.new(algorithm), 0
    try:
        async for data in client.content.read(blob.digest):
            size += len(data)
            await asyncio.to_thread(state.update, data)
    except NotFound:
        try:
            await client.content.info(blob.digest)
        except NotFound:
            return ""
        return "its file is gone"
    except ContainerdError as exc:
        return f"it cannot be read: {exc}"
    if state.hexdigest() != wanted:
        return f"its {size} bytes have the digest {algorithm}:{state.hexdigest()}"
    return ""


async def _layers(client: Client, store: Snapshots, resolved: Resolved, bad: set[str], verdict: Verdict) -> None:
    parent = ""
    chain = chain_ids(resolved.config.diff_ids)
    for layer, chain_id in zip(resolved.manifest.layers, chain, strict=False):
        try:
            await store.stat(chain_id)
        except NotFound:
            return  # it is not unpacked, or not this far
        verdict.layers += 1
        if layer.digest in bad:
            reason = f"it cannot be checked: its content {layer.digest} is damaged"
        else:
            reason = await _layer(client, store, layer, chain_id, parent)
        if reason:
            verdict.faults.append(Fault("layer", chain_id, reason))
        parent = chain_id


async def _layer(client: Client, store: Snapshots, layer: Descriptor, chain_id: str, parent: str) -> str:
    """Unpack ``layer`` beside the snapshot that it was unpacked to, and compare."""
    token = secrets.token_hex(6)
    async with _scratch(store, f"verify-{token}", parent, view=False) as wanted:
        try:
            await client.diff.apply(layer, wanted)
        except NotFound as exc:
            return f"it cannot be checked: {exc}"
        async with _scratch(store, f"verify-view-{token}", chain_id, view=True) as found:
            reasons = await asyncio.to_thread(_compare, wanted, found)
    return "; ".join(reasons)


@contextlib.asynccontextmanager
async def _scratch(store: Snapshots, key: str, parent: str, *, view: bool) -> AsyncIterator[Sequence[Mount]]:
    make = store.view if view else store.prepare
    mounts = await make(key, parent)
    try:
        yield mounts
    finally:
        await store.remove(key)


def _compare(wanted: Sequence[Mount], found: Sequence[Mount]) -> list[str]:
    one, other = own_directory(wanted), own_directory(found)
    if one and other:
        return differences(one, other)
    with mounted(wanted) as first, mounted(found) as second:
        return differences(first, second)


async def _take_away(client: Client, fault: Fault, image: Image) -> Fault:
    try:
        await client.content.delete(fault.key)
        # The Go containerd forgets the blob and keeps its file until a collection; until then a pull would find it again.
        lease = await client.leases.create()
        await client.leases.delete(lease.id, sync=True)
    except NotFound:
        pass
    except ContainerdError as exc:
        return attrs.evolve(fault, reason=f"{fault.reason}; not removed: {exc}")
    return attrs.evolve(fault, reason=f"{fault.reason}; it is removed, `ctr images pull {image.name}` brings it again")


async def _unpack_again(client: Client, image: Image, damaged: set[str], snapshotter: str) -> None:
    resolved = await resolve(client, image)
    chain = chain_ids(resolved.config.diff_ids)
    lowest = min(chain.index(key) for key in damaged)
    async with client.lease() as held:
        store = held.snapshots(snapshotter)
        if lowest:  # what the image's label kept by way of those above must not be collected meanwhile
            resource = Resource(f"snapshots/{store.name}", chain[lowest - 1])
            await held.leases.add_resource(held.lease_id, resource)
        try:
            for chain_id in reversed(chain[lowest:]):
                await _remove_layer(store, chain_id, chain)
        finally:
            await unpack(held, image, snapshotter=snapshotter)


async def _remove_layer(store: Snapshots, chain_id: str, chain: Sequence[str]) -> None:
    try:
        await store.remove(chain_id)
    except NotFound:
        pass
    except FailedPrecondition as exc:
        users = [info.name async for info in store.walk() if info.parent == chain_id and info.name not in chain]
        raise DataLoss(
            f"{chain_id} is in use by {', '.join(users) or 'others'}", hint="remove them, then repair again"
        ) from exc
