"""Mixed load on a daemon, with a ledger of what it acknowledged, and questions to it after it was killed.

What was under way when the daemon died may be there or not, but if it is, then whole. `Load.work` ends with
`Unavailable` or `Cancelled` when the daemon is gone; `examine` says what was lost, or came back.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs

from pycontainerd.client import Client
from pycontainerd.client.launch import Plan, create_rootfs_container
from pycontainerd.client.manifest import resolve
from pycontainerd.client.task import create_task, load_task
from pycontainerd.client.transfer import ImageOptions
from pycontainerd.contracts.errors import ContainerdError, NotFound
from pycontainerd.contracts.leases import Resource
from pycontainerd.contracts.runtime import Status

from . import images
from .daemon import Daemon
from .rootfs import Node

ROOT = {"containerd.io/gc.root": "chaos"}
KEEP = 12  # objects of a kind, about


def _of_itself(kind: str, name: str) -> bool:
    """Whether operations make such a thing besides what they are asked for."""
    if kind == "snapshot":
        return name.startswith("sha256:") or "extract-" in name
    return kind == "blob" or (kind == "lease" and not name.startswith("lease-"))


@attrs.define
class Ledger:
    """What exists for certain (``there``) and what may (``maybe``), as (kind, name), in a namespace of its own."""

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
    rootfs: str = ""  # of containers, which are left out without one
    taken: set[tuple[str, str]] = attrs.field(factory=set)  # what a worker has in hand
    done: int = 0

    async def work(self) -> None:
        """Never returns: it raises when the daemon does not answer any more."""
        acts = (self.blob, self.snapshot, self.lease, self.image, self.container)
        weights = (4, 4, 3, 2, 1 if self.rootfs else 0)
        while True:
            act = self.dice.choices(acts, weights)[0]
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
        nodes = [Node("data", self.dice.randbytes(30_000)), Node("name", name.encode())]
        # The lower layer is that of all of them: one is taken away while another begins to use it.
        both = [images.layer([Node("shared", b"x")]), images.layer(nodes)]
        archive = images.oci_archive({name: images.image(both)})

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


async def examine(address: str, ledger: Ledger) -> None:
    """Everything acknowledged is there and whole, nothing else is; what was under way is taken away."""
    async with Client(address, namespace=ledger.namespace) as client:
        found = await listing(client)
        for kind, name in ledger.there:
            assert name in found[kind], f"the {kind} {name} was acknowledged and is lost"
        known = {*ledger.there, *ledger.maybe}
        for kind, names in found.items():
            for name in names - {name for one, name in known if one == kind}:
                assert _of_itself(kind, name), f"the {kind} {name} was deleted and is back"
                if kind == "lease":  # of a transfer that the kill ended; it would expire tomorrow
                    await client.leases.delete(name)
        for kind, name in known:
            if name in found[kind]:
                certain = (kind, name) in ledger.there
                try:
                    await _check(client, kind, name, certain=certain)
                except ContainerdError as exc:
                    exc.add_note(f"the {kind} {name} is there but not whole; acknowledged: {certain}")
                    raise
        for kind, name in sorted(ledger.maybe):
            if name in found[kind]:
                await take_away(client, kind, name)
        for one in await client.content.statuses():
            await client.content.abort(one.ref)
        ledger.maybe.clear()


async def listing(client: Client) -> dict[str, set[str]]:
    """The names of everything there is, by kind."""
    return {
        "blob": {info.digest async for info in client.content.walk()},
        "snapshot": {info.name async for info in client.snapshots("").walk()},
        "lease": {lease.id for lease in await client.leases.list()},
        "image": {image.name for image in await client.images.list()},
        "container": {container.id for container in await client.containers.list()},
    }


async def _check(client: Client, kind: str, name: str, *, certain: bool) -> None:
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
            await _unpacked(client, name, resolved.chain_id)
    elif kind == "container" and certain:
        assert (await client.tasks.get(name)).status is Status.RUNNING


async def _unpacked(client: Client, name: str, chain_id: str) -> None:
    """The files of an image of `Load.image` are what its layers say, not of length 0 after a power cut."""
    snapshots = client.snapshots("")
    key = f"look-{os.urandom(4).hex()}"
    mounts = await snapshots.view(key, chain_id, ROOT)
    try:
        options = [text.removeprefix("lowerdir=") for mount in mounts for text in mount.options]
        lower = [text for text in options if text.startswith("/")] or [mounts[0].source]
        files = [f"{path}/name" for text in lower for path in text.split(":")]
        found = [await asyncio.to_thread(_read, path) for path in files]
        assert name.encode() in found, f"{name}: its file has {found} in {lower}"
        data = await asyncio.to_thread(_read, os.path.join(os.path.dirname(files[found.index(name.encode())]), "data"))
        assert len(data) == 30_000, f"{name}: its data has {len(data)} bytes"
    finally:
        await snapshots.remove(key)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


async def take_away(client: Client, kind: str, name: str) -> None:
    """Delete one thing of a ledger."""
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


async def empty(address: str, ledger: Ledger) -> dict[str, set[str]]:
    """Delete everything that was acknowledged, collect, and list what is left, which should be nothing."""
    async with Client(address, namespace=ledger.namespace) as client:
        for kind, name in sorted(ledger.there):
            await take_away(client, kind, name)
        lease = await client.leases.create()
        await client.leases.delete(lease.id, sync=True)
        return await listing(client)


def stored(root: str) -> list[str]:
    """Blobs, and directories of snapshots, in the root directory of a daemon. Those of removed ones go a moment later."""
    blobs = [path for path in glob.glob(f"{root}/**/blobs/**", recursive=True) if os.path.isfile(path)]
    trees = [path for path in glob.glob(f"{root}/io.containerd.snapshotter.v1.*/snapshots/*") if os.path.isdir(path)]
    return blobs + trees


def fsck(daemon: Daemon, *options: str) -> str:
    """What ``containerd fsck`` finds wrong with (and, with ``--repair``, leaves of) a stopped daemon, "" for nothing."""
    command = [sys.executable, "-m", "pycontainerd.server.main", "-c", f"{daemon.directory}/config.toml", "fsck"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr if done.returncode else ""
