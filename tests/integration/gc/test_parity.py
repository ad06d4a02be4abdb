"""The same worlds in this daemon and in the Go containerd: what a collection leaves of them is the same.

GO_CONTAINERD may name another build than the distribution's; from 2.0 on more labels mean something.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest

from pycontainerd.client import Client
from pycontainerd.contracts.containers import Container
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.leases import Resource
from pycontainerd.contracts.types import AnyValue, Descriptor, now
from pycontainerd.testing.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.interop]
GC = "containerd.io/gc."
SNAPSHOTTER = "native"
BLOBS = [f"blob-{number}" for number in range(8)]
LAYERS = [f"s{number}" for number in range(8)]
IMAGES = [f"i{number}" for number in range(4)]
CONTAINERS = ["c0", "c1"]


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def stamp(hours: float) -> str:
    return (now() + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


@attrs.frozen
class World:
    """What to make: labels of blobs, snapshots (with parents), images (with targets), containers; leases with holdings."""

    blobs: dict[str, dict[str, str]]
    layers: dict[str, tuple[str, dict[str, str]]]
    images: dict[str, tuple[str, dict[str, str]]]
    containers: dict[str, str]
    leases: dict[str, tuple[dict[str, str], list[Resource]]]


def make_world(seed: int, *, modern: bool) -> World:
    dice = random.Random(seed)

    def labels(kind: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for number in range(dice.choice((0, 0, 1, 1, 2))):
            choices = [(f"ref.content.{number}", digest(dice.choice(BLOBS)))]
            choices.append((f"ref.snapshot.{SNAPSHOTTER}/{number}", dice.choice(LAYERS)))
            if kind in ("content", "snapshot") and dice.random() < 0.3:
                choices = [("root", "1")]
            elif modern:
                choices += [
                    (f"bref.content.{number}", digest(dice.choice(BLOBS))),
                    (f"bref.snapshot.{SNAPSHOTTER}/{number}", dice.choice(LAYERS)),
                    (f"bref.image/{number}", dice.choice(IMAGES)),
                    ("bref.container", dice.choice(CONTAINERS)),
                    (f"ref.image.{number}", dice.choice(IMAGES)),
                ]
                if kind in ("content", "image"):
                    text = dice.choice(("usedat<2h", "usedat>2h", "usedat<30m,usedat>5h", "usedat=1h", "other<1h"))
                    choices.append((f"cond.snapshot.{SNAPSHOTTER}/{number}", f"{text}|{dice.choice(LAYERS)}"))
                elif kind == "snapshot":
                    choices.append(("cond.value-usedat", stamp(-dice.choice((0.1, 1, 3, 6)))))
            name, value = dice.choice(choices)
            found[GC + name] = value
        if kind == "image" and modern and dice.random() < 0.3:
            found[GC + "expire"] = stamp(dice.choice((-1, 1)))
        return found

    def lease() -> tuple[dict[str, str], list[Resource]]:
        its: dict[str, str] = {}
        if dice.random() < 0.5:
            its[GC + "flat"] = "1"
        if dice.random() < 0.5:
            its[GC + "expire"] = stamp(dice.choice((-1, 1)))
        held = [
            Resource("content", digest(dice.choice(BLOBS))),
            Resource(f"snapshots/{SNAPSHOTTER}", dice.choice(LAYERS)),
        ]
        return its, held

    return World(
        {name: labels("content") for name in BLOBS},
        {name: (dice.choice(["", *LAYERS[:number]]), labels("snapshot")) for number, name in enumerate(LAYERS)},
        {name: (dice.choice(BLOBS), labels("image")) for name in IMAGES[: dice.randint(0, 4)]},
        {name: dice.choice(LAYERS) for name in CONTAINERS[: dice.randint(0, 2)]},
        {f"l{number}": lease() for number in range(dice.randint(0, 2))},
    )


async def build(client: Client, world: World) -> None:
    """Make it, under the lease ``build``, which keeps everything meanwhile."""
    await client.leases.create("build")
    under = client.under("build")
    for name, labels in world.blobs.items():
        async with under.content.writer(name) as ingest:
            await ingest.write(name.encode())
            await ingest.commit(labels=labels)
    snapshots = under.snapshots(SNAPSHOTTER)
    for name, (parent, labels) in world.layers.items():
        await snapshots.prepare(f"{name}-active", parent)
        await snapshots.commit(name, f"{name}-active", labels)
    for name, (held, labels) in world.images.items():
        target = Descriptor("application/vnd.oci.image.manifest.v1+json", digest(held), 6)
        await under.images.create(Image(name, target, labels))
        if GC + "expire" in labels:
            await client.leases.add_resource("build", Resource("images", name))
    for name, key in world.containers.items():
        record = Container(
            name, runtime="io.containerd.runc.v2", spec=AnyValue("x", b"{}"), snapshotter=SNAPSHOTTER, snapshot_key=key
        )
        await under.containers.create(record)
    for name, (its, held_by_it) in world.leases.items():
        await client.leases.create(name, its)
        for resource in held_by_it:
            with contextlib.suppress(NotFound):  # it has expired, and may be collected already
                await client.leases.add_resource(name, resource)


async def left(address: str, seed: int, world: World) -> dict[str, Any]:
    async with Client(address, namespace=f"parity-{seed}") as client:
        await build(client, world)
        await client.leases.delete("build", sync=True)
        names = {digest(name): name for name in BLOBS}
        return {
            "blobs": {names[info.digest] async for info in client.content.walk()},
            "snapshots": {info.name async for info in client.snapshots(SNAPSHOTTER).walk()},
            "images": {image.name for image in await client.images.list()},
            "leases": {lease.id for lease in await client.leases.list()},
        }


@pytest.fixture(scope="module")
def go() -> Iterator[Daemon]:
    with Daemon.go() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def modern(go: Daemon) -> bool:
    text = subprocess.run([go.command[0], "--version"], capture_output=True, text=True, check=True).stdout
    return not text.split()[2].lstrip("v").startswith("1.")


@pytest.mark.parametrize("seed", range(10))
def test_a_collection_leaves_what_the_go_containerd_leaves(
    our_containerd_module: Daemon, go: Daemon, modern: bool, seed: int
) -> None:
    world = make_world(seed, modern=modern)

    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        return await asyncio.gather(left(our_containerd_module.address, seed, world), left(go.address, seed, world))

    ours, theirs = asyncio.run(both())
    assert ours == theirs
