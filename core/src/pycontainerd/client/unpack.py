"""Unpacking by the client: for servers whose transfer service does not do it, through their snapshots and differs."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from pycontainerd.contracts import gclabels
from pycontainerd.contracts.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.types import Descriptor, Platform

from .manifest import Resolved, chain_ids, resolve
from .snapshots import Snapshots

if TYPE_CHECKING:
    from .client import Client


async def is_unpacked(client: Client, resolved: Resolved, snapshotter: str = "") -> bool:
    """Whether the image's last layer is a snapshot."""
    if not resolved.chain_id:
        return True
    try:
        await client.snapshots(snapshotter).stat(resolved.chain_id)
    except NotFound:
        return False
    return True


async def unpack(
    client: Client, image: Image, *, snapshotter: str = "", platform: Platform | None = None, sync: bool = False
) -> Resolved:
    """Make snapshots of an image's layers, as far as they are not there; they are kept by a label of the config.

    :raises DataLoss: a layer is not what the config says.
    """
    resolved = await resolve(client, image, platform)
    layers, diff_ids = resolved.manifest.layers, resolved.config.diff_ids
    if len(layers) != len(diff_ids):
        raise InvalidArgument(f"image {image.name}: {len(layers)} layers, but {len(diff_ids)} diff ids in its config")
    async with client.lease() as held:
        snapshots = held.snapshots(snapshotter)
        parent = ""
        for layer, diff_id, chain_id in zip(layers, diff_ids, chain_ids(diff_ids), strict=True):
            await _layer(held, snapshots, layer, diff_id, chain_id, parent, sync=sync)
            parent = chain_id
        if parent:
            label = gclabels.snapshot_label(snapshots.name)
            await held.content.update(resolved.manifest.config.digest, {label: parent}, [f"labels.{label}"])
    return resolved


async def _layer(
    client: Client,
    snapshots: Snapshots,
    layer: Descriptor,
    diff_id: str,
    chain_id: str,
    parent: str,
    *,
    sync: bool,
) -> None:
    with contextlib.suppress(NotFound):
        await snapshots.stat(chain_id)
        return
    # The name says what it is for to those who wait for it or clean up.
    key = f"extract-{secrets.token_hex(6)} {chain_id}"
    labels = {"containerd.io/snapshot.ref": chain_id}
    try:
        mounts = await snapshots.prepare(key, parent, labels)
    except AlreadyExists:
        return  # someone else has made it meanwhile
    try:
        applied = await client.diff.apply(layer, mounts, sync=sync)
        if applied.digest != diff_id:
            raise DataLoss(f"layer {layer.digest} unpacks to {applied.digest}, the config says {diff_id}")
        with contextlib.suppress(AlreadyExists):
            await snapshots.commit(chain_id, key, labels)
            key = ""
    finally:
        if key:
            await snapshots.remove(key)
    label = gclabels.UNCOMPRESSED
    await client.content.update(layer.digest, {label: diff_id}, [f"labels.{label}"])
