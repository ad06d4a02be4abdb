"""The daemon is killed at random moments under mixed load, started again, and asked for everything it had acknowledged.

A ledger has what the daemon said yes to. What was under way when it died may be there or not, but if it is, then whole.
The seed is in the name of a failing test's message; CHAOS_ROUNDS and CHAOS_SEED run more, or the same again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import random
import shutil
import signal
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import attrs
import pytest

from pycontainerd.client import Client
from pycontainerd.client.launch import Plan, create_rootfs_container
from pycontainerd.client.manifest import resolve
from pycontainerd.client.task import create_task, load_task
from pycontainerd.client.transfer import ImageOptions
from pycontainerd.contracts.errors import Cancelled, NotFound, Unavailable
from pycontainerd.contracts.leases import Resource
from pycontainerd.contracts.runtime import Status
from pycontainerd.testing import images
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.rootfs import Node, host_rootfs

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "25"))  # kills in each of the tests below
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEED", "").split(",") if seed] or [
    random.SystemRandom().randrange(1 << 32) for _ in range(8)
]
ROOT = {"containerd.io/gc.root": "chaos"}
# What operations make besides what they are asked for.
OF_ITSELF: dict[str, Callable[[str], bool]] = {
    "blob": lambda name: True,
    "snapshot": lambda name: name.startswith("sha256:") or "extract-" in name,
    "lease": lambda name: not name.startswith("lease-"),
    "image": lambda name: False,
    "container": lambda name: False,
}
BUSY = 6  # workers
KEEP = 12  # objects of a kind, about


@attrs.define
class Ledger:
    """What exists for certain (``there``) and what may (``maybe``), as (kind, name)."""

    there: dict[tuple[str, str], str] = attrs.field(factory=dict)
    maybe: set[tuple[str, str]] = attrs.field(factory=set)
    count: int = 0
    # Of its own, for runc makes a cgroup of that name, which other daemons' containers must not be in.
    namespace: str = attrs.field(factory=lambda: f"chaos-{os.urandom(4).hex()}")

    def fresh(self, kind: str) -> str:
        self.count += 1
        return f"{kind}-{self.count}"

    async def change(self, kind: str, name: str, work: Awaitable[object], value: str | None) -> None:
        """Await ``work`` on (kind, name), which then exists with ``value``, or no more (None)."""
        self.there.pop((kind, name), None)
        self.maybe.add((kind, name))
        await work
        self.maybe.discard((kind, name))
        if value is not None:
            self.there[kind, name] = value

    def names(self, kind: str) -> list[str]:
        return [name for one, name in self.there if one == kind]


@attrs.define
class Load:
    """Workers that each do one thing after another until the daemon is gone."""

    client: Client
    ledger: Ledger
    dice: random.Random
    rootfs: str
    taken: set[tuple[str, str]] = attrs.field(factory=set)  # what a worker has in hand
    done: int = 0

    async def work(self) -> None:
        acts = (self.blob, self.snapshot, self.lease, self.image, self.container)
        while True:
            act = self.dice.choices(acts, (4, 4, 3, 2, 1))[0]
            await act()
            self.done += 1

    def pick(self, kind: str) -> str | None:
        """One that exists and nobody works on, taken."""
        free = [name for name in self.ledger.names(kind) if (kind, name) not in self.taken]
        if not free or (len(free) < KEEP and self.dice.random() < 0.6):
            return None
        name = self.dice.choice(free)
        self.taken.add((kind, name))
        return name

    async def blob(self) -> None:
        if old := self.pick("blob"):
            await self.ledger.change("blob", old, self.client.content.delete(old), None)
            return
        data = self.dice.randbytes(self.dice.randrange(1, 60_000))
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        ref = self.ledger.fresh("ref")
        work = self.client.content.write(ref, data, total=len(data), expected=digest, labels=ROOT)
        await self.ledger.change("blob", digest, work, str(len(data)))

    async def snapshot(self) -> None:
        snapshots = self.client.snapshots("")
        if old := self.pick("snapshot"):
            await self.ledger.change("snapshot", old, snapshots.remove(old), None)
            return
        key = self.ledger.fresh("snapshot")
        self.taken.add(("snapshot", key))
        await self.ledger.change("snapshot", key, snapshots.prepare(key, "", ROOT), "active")
        if self.dice.random() < 0.5:
            name = self.ledger.fresh("snapshot")
            self.ledger.there.pop(("snapshot", key))
            self.ledger.maybe.add(("snapshot", key))
            await self.ledger.change("snapshot", name, snapshots.commit(name, key, ROOT), "committed")
            self.ledger.maybe.discard(("snapshot", key))
        self.taken.discard(("snapshot", key))

    async def lease(self) -> None:
        if old := self.pick("lease"):
            work = self.client.leases.delete(old, sync=self.dice.random() < 0.3)
            await self.ledger.change("lease", old, work, None)
            return
        name = self.ledger.fresh("lease")
        await self.ledger.change("lease", name, self.client.leases.create(name), "")
        if held := self.pick("blob"):
            await self.client.leases.add_resource(name, Resource("content", held))
            self.taken.discard(("blob", held))

    async def image(self) -> None:
        if old := self.pick("image"):
            await self.ledger.change("image", old, self.client.images.delete(old, sync=True), None)
            return
        name = f"chaos.test/{self.ledger.fresh('image')}:1"
        nodes = [Node("data", self.dice.randbytes(3000)), Node("name", name.encode())]
        archive = images.oci_archive({name: images.image([images.layer(nodes), images.layer([Node("top", b"x")])])})

        async def source() -> AsyncIterator[bytes]:
            yield archive

        work = self.client.transfer.import_archive(
            source(), ImageOptions(unpack=[""]), base_name="chaos.test", overwrite=True
        )
        await self.ledger.change("image", name, work, "")

    async def container(self) -> None:
        if old := self.pick("container"):
            await self.ledger.change("container", old, self.end(old), None)
            return
        if len(self.ledger.names("container")) > 2:
            return
        name = self.ledger.fresh("container")
        await self.ledger.change("container", name, self.run(name), "")

    async def run(self, name: str) -> None:
        await create_rootfs_container(self.client, self.rootfs, Plan(id=name, args=("/bin/sleep", "3600")))
        task = await create_task(self.client, name)
        await task.start()

    async def end(self, name: str) -> None:
        await remove(self.client, name)


async def remove(client: Client, name: str) -> None:
    """A container with its task, whatever is left of them."""
    with contextlib.suppress(NotFound):
        task = await load_task(client, name)
        with contextlib.suppress(NotFound):  # it has ended
            await task.kill(signal.SIGKILL)
        await task.wait()
        await task.delete()
    with contextlib.suppress(NotFound):
        await client.containers.delete(name)


async def under_load(daemon: Daemon, ledger: Ledger, dice: random.Random, rootfs: str, seconds: float) -> int:
    """Work for a while and kill the daemon in the middle of it; returns how many operations were acknowledged."""
    async with Client(daemon.address, namespace=ledger.namespace) as client:
        load = Load(client, ledger, dice, rootfs)
        workers = [asyncio.create_task(load.work()) for _ in range(BUSY)]
        await asyncio.sleep(seconds)
        daemon.kill()
        ended = await asyncio.gather(*workers, return_exceptions=True)
    for error in ended:  # of the daemon's end, and of nothing else
        assert isinstance(error, (Unavailable, Cancelled)), error
    return load.done


async def examined(daemon: Daemon, ledger: Ledger) -> None:
    """Everything acknowledged is there and whole, nothing else is; what was under way is taken away."""
    async with Client(daemon.address, namespace=ledger.namespace) as client:
        found = await listing(client)
        for kind, name in ledger.there:
            assert name in found[kind], f"the {kind} {name} was acknowledged and is lost"
        known = {*ledger.there, *ledger.maybe}
        for kind, names in found.items():
            for name in names - {name for one, name in known if one == kind}:
                assert OF_ITSELF[kind](name), f"the {kind} {name} was deleted and is back"
                if kind == "lease":  # of a transfer that the kill ended; it would expire tomorrow
                    await client.leases.delete(name)
        for kind, name in known:
            if name in found[kind]:
                await check(client, kind, name, certain=(kind, name) in ledger.there)
        for kind, name in sorted(ledger.maybe):
            if name in found[kind]:
                await take_away(client, kind, name)
        for one in await client.content.statuses():
            await client.content.abort(one.ref)
        ledger.maybe.clear()


async def listing(client: Client) -> dict[str, set[str]]:
    return {
        "blob": {info.digest async for info in client.content.walk()},
        "snapshot": {info.name async for info in client.snapshots("").walk()},
        "lease": {lease.id for lease in await client.leases.list()},
        "image": {image.name for image in await client.images.list()},
        "container": {container.id for container in await client.containers.list()},
    }


async def check(client: Client, kind: str, name: str, *, certain: bool) -> None:
    """It is not just listed: it can be used."""
    if kind == "blob":
        data = await client.content.read_all(name)
        assert name == "sha256:" + hashlib.sha256(data).hexdigest()
    elif kind == "snapshot":
        info = await client.snapshots("").stat(name)
        if str(info.kind.name).lower() == "active":
            for mount in await client.snapshots("").mounts(name):
                directories = [text.partition("=")[2] for text in mount.options if text.startswith("upperdir=")]
                for directory in directories or [mount.source]:
                    assert await asyncio.to_thread(os.path.isdir, directory), f"{name}: {directory} is gone"
    elif kind == "image":
        resolved = await resolve(client, await client.images.get(name))
        for layer in resolved.manifest.layers:
            data = await client.content.read_all(layer.digest)
            assert layer.digest == "sha256:" + hashlib.sha256(data).hexdigest()
        if certain:
            await client.snapshots("").stat(resolved.chain_id)
    elif kind == "container" and certain:
        assert (await client.tasks.get(name)).status is Status.RUNNING


async def take_away(client: Client, kind: str, name: str) -> None:
    deletions: dict[str, Callable[[str], Awaitable[object]]] = {
        "blob": client.content.delete,
        "snapshot": client.snapshots("").remove,
        "lease": client.leases.delete,
        "image": client.images.delete,
    }
    if kind == "container":
        await remove(client, name)
    else:
        await deletions[kind](name)


async def emptied(daemon: Daemon, ledger: Ledger) -> dict[str, set[str]]:
    """Delete everything that was acknowledged, collect, and list what is left."""
    async with Client(daemon.address, namespace=ledger.namespace) as client:
        for kind, name in sorted(ledger.there):
            await take_away(client, kind, name)
        lease = await client.leases.create()
        await client.leases.delete(lease.id, sync=True)
        return await listing(client)


def files(daemon: Daemon) -> list[str]:
    """Blobs and directories of snapshots."""
    root = Path(daemon.root)
    blobs = [path for path in root.rglob("*") if path.is_file() and "/blobs/" in str(path)]
    directories = [path for path in root.glob("io.containerd.snapshotter.v1.*/snapshots/*") if path.is_dir()]
    return [str(path) for path in (*blobs, *directories)]


def until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    """Directories of removed snapshots are deleted a moment later."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.05)


@pytest.fixture
def rootfs() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="pyc-r", dir="/tmp")
    with tarfile.open(fileobj=io.BytesIO(images.tar_of(host_rootfs()))) as archive:
        archive.extractall(directory, filter="fully_trusted")
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_nothing_acknowledged_is_lost_and_nothing_leaks(seed: int, rootfs: str) -> None:
    dice, ledger, done = random.Random(seed), Ledger(), 0
    with Daemon.ours() as daemon:
        try:
            for _ in range(ROUNDS):
                done += asyncio.run(under_load(daemon, ledger, dice, rootfs, dice.uniform(0.02, 0.4)))
                daemon.start()
                asyncio.run(examined(daemon, ledger))
            left = asyncio.run(emptied(daemon, ledger))
            assert not any(left.values()), left
            until(lambda: files(daemon) == [], lambda: str(files(daemon)))
            assert daemon.leftovers() == []
        except BaseException as exc:
            exc.add_note(f"CHAOS_SEED={seed} CHAOS_ROUNDS={ROUNDS} does it again; {done} operations were acknowledged")
            raise
        assert done > ROUNDS  # the load was one
