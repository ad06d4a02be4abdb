"""Collections in a running daemon: by clients' commands, on time, and when it is killed in the middle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from pycontainerd.client import Client
from pycontainerd.contracts.leases import Resource
from pycontainerd.contracts.types import now
from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root
ROOT = {"containerd.io/gc.root": "test"}
SLEEP = ("/bin/sh", "-c", "while :; do sleep 100; done")


@pytest.fixture(
    params=[
        pytest.param(("our_containerd_module", OURS), id="our-daemon-our-ctr"),
        pytest.param(
            ("our_containerd_module", ("/usr/bin/ctr",)), id="our-daemon-debian-ctr", marks=pytest.mark.interop
        ),
        pytest.param(("debian_containerd_module", OURS), id="debian-daemon-our-ctr", marks=pytest.mark.interop),
    ]
)
def ctr(request: pytest.FixtureRequest) -> Ctr:
    fixture, command = request.param
    return Ctr(command, request.getfixturevalue(fixture).address)


@pytest.fixture
def ours(our_containerd_module: Daemon) -> Ctr:
    return Ctr(OURS, our_containerd_module.address)


@pytest.fixture
def own_daemon() -> Iterator[Daemon]:
    with Daemon.ours() as daemon:
        yield daemon


def snapshots(ctr: Ctr) -> set[str]:
    return {line.split()[0] for line in ctr("snapshots", "ls").splitlines()[1:] if line.strip()}


def test_removing_an_image_frees_all_but_what_a_container_runs_on(ctr: Ctr, image_archive: str) -> None:
    ctr("images", "import", image_archive)
    ctr("run", "-d", IMAGE, "runs", *SLEEP)
    before = snapshots(ctr)
    assert "runs" in before
    ctr("images", "rm", "--sync", IMAGE)
    assert ctr("content", "ls", "-q") == ""
    assert snapshots(ctr) == before
    ctr("tasks", "kill", "-s", "KILL", "runs")
    eventually(lambda: "STOPPED" in ctr("tasks", "ls"), "the task stops")
    ctr("tasks", "rm", "runs", check=False)
    ctr("containers", "rm", "runs")
    eventually(lambda: not snapshots(ctr), "the snapshots are gone")


def test_what_a_lease_holds_goes_when_it_expires_without_anything_else_happening(
    our_containerd_module: Daemon,
) -> None:
    async def run() -> None:
        async with Client(our_containerd_module.address, namespace="expiry") as client:
            await client.gc.collect()
            until = (now() + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
            lease = await client.leases.create(labels={"containerd.io/gc.expire": until})
            async with client.under(lease.id).content.writer("ref") as ingest:
                await ingest.write(b"held for two seconds")
                await ingest.commit()

    asyncio.run(run())
    ctr = Ctr(OURS, our_containerd_module.address, "expiry")
    eventually(lambda: ctr("content", "ls", "-q") == "", "the blob is collected")
    assert ctr("leases", "ls", "-q") == ""


def test_deleting_a_lease_synchronously_frees_what_it_held(our_containerd_module: Daemon) -> None:
    async def run() -> None:
        async with Client(our_containerd_module.address, namespace="sync") as client:
            lease = await client.leases.create("l")
            await client.under("l").snapshots("overlayfs").prepare("held")
            await client.gc.collect()
            assert (await client.snapshots("overlayfs").stat("held")).name == "held"
            await client.leases.delete(lease.id, sync=True)
            assert [info async for info in client.snapshots("overlayfs").walk()] == []

    asyncio.run(run())


def test_gc_tells_what_it_would_take_and_why_something_stays(ours: Ctr, image_archive: str) -> None:
    ours("images", "import", image_archive)
    digest = ours("content", "ls", "-q").split()[0]
    lines = ours("gc", "why", digest).splitlines()
    assert lines[0].startswith(f"images/{IMAGE}  (an image)")
    assert digest in lines[-1]
    assert ours("gc", "why", digest[:20]) == ours("gc", "why", digest)
    code, _, error = ours.status("gc", "why", "nothing-of-that-name")
    assert (code, "nothing-of-that-name" in error) == (3, True)
    assert ours("gc", "plan").splitlines()[-1].startswith("0 in all")
    assert ours("gc", "run").startswith("removed ")
    assert digest in ours("content", "ls", "-q")


def test_the_plan_is_what_goes(own_daemon: Daemon) -> None:
    """In a daemon that does not collect by itself."""
    own_daemon.stop()
    with open(f"{own_daemon.directory}/config.toml", "a", encoding="utf-8") as file:
        file.write('[plugins."io.containerd.gc.v1.scheduler"]\n startup_delay = "1h"\n schedule_delay = "1ms"\n')
        file.write(" pause_threshold = 0.00001\n")
    own_daemon.start()

    async def run() -> None:
        async with Client(own_daemon.address, namespace="plan") as client:
            await client.gc.collect()
            async with client.content.writer("ref") as ingest:
                await ingest.write(b"x" * 1000)
                digest = await ingest.commit()
            await client.snapshots("overlayfs").prepare("rw")
            plan = {item.node.key: item.bytes for item in await client.gc.plan()}
            assert plan.keys() == {digest, "rw"}
            assert plan[digest] == 1000
            assert plan["rw"] >= 0
            assert await client.in_namespace("other").gc.plan() == []
            assert len(await client.in_namespace("other").gc.plan(all_namespaces=True)) == 2
            assert await client.gc.why(digest) == []
            done = await client.gc.collect()
            assert (done.removed, done.bytes) == ({"content": 1, "snapshots": 1}, 1000)

    asyncio.run(run())


async def _fill(client: Client, turn: int, count: int) -> None:
    """Under the lease ``l``: ``count`` blobs and as many snapshots of which each third is kept by a label."""
    await client.leases.create("l")
    under = client.under("l")

    async def one(number: int) -> None:
        labels = ROOT if number % 3 == 0 else {}
        async with under.content.writer(f"{turn}-{number}") as ingest:
            await ingest.write(f"{turn}-{number}".encode())
            await ingest.commit(labels=labels)
        await under.snapshots("overlayfs").prepare(f"{turn}-{number}-a")
        await under.snapshots("overlayfs").commit(f"{turn}-{number}", f"{turn}-{number}-a", labels)

    await asyncio.gather(*(one(number) for number in range(count)))


async def _kept(client: Client) -> tuple[set[str], set[str]]:
    blobs = {info.digest async for info in client.content.walk()}
    return blobs, {info.name async for info in client.snapshots("overlayfs").walk()}


def test_killed_in_the_middle_of_a_collection_it_loses_nothing_and_leaves_nothing(own_daemon: Daemon) -> None:
    count, kept = 90, 30

    async def fill(turn: int) -> None:
        async with Client(own_daemon.address, namespace="kill") as client:
            await _fill(client, turn, count)

    async def check(turn: int) -> None:
        async with Client(own_daemon.address, namespace="kill") as client:
            if await client.leases.list():
                await client.leases.delete("l")
            await client.gc.collect()
            blobs, names = await _kept(client)
            assert names == {f"{t}-{n}" for t in range(turn + 1) for n in range(0, count, 3)}
            assert len(blobs) == kept * (turn + 1)
            for digest in blobs:
                assert await client.content.read_all(digest)
            on_disk = os.listdir(f"{own_daemon.root}/io.containerd.content.v1.content/blobs/sha256")
            assert {f"sha256:{name}" for name in on_disk} == blobs
            folders = os.listdir(f"{own_daemon.root}/io.containerd.snapshotter.v1.overlayfs/snapshots")
            assert len(folders) == len(names)

    ctr = Ctr(OURS, own_daemon.address, "kill")
    for turn, delay in enumerate((0.2, 0.3, 0.35, 0.4, 0.5)):
        asyncio.run(fill(turn))
        caller = ctr.start("leases", "rm", "--sync", "l", stderr=subprocess.DEVNULL)  # it may find no daemon
        time.sleep(delay)  # the client takes a while to start; wherever that hits is a place to be killed at
        own_daemon.kill()
        caller.wait()
        own_daemon.start()
        asyncio.run(check(turn))


def test_clients_of_a_daemon_without_a_collector_are_told_so_and_can_still_remove(own_daemon: Daemon) -> None:
    own_daemon.stop()
    path = f"{own_daemon.directory}/config.toml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("disabled_plugins = [", 'disabled_plugins = ["io.containerd.gc.v1.scheduler"'))
    own_daemon.start()
    ctr = Ctr(OURS, own_daemon.address)
    code, _, error = ctr.status("gc", "run")
    assert code == 7
    assert "io.containerd.gc.v1.scheduler: disabled at" in error

    async def run() -> None:
        async with Client(own_daemon.address, namespace="n") as client:
            await client.leases.create("l")
            await client.leases.add_resource("l", Resource("snapshots/overlayfs", "s"))
            await client.leases.delete("l", sync=True)
            assert await client.leases.list() == []

    asyncio.run(run())
