"""A garbage collection of many blobs and snapshots, of which half are garbage, and what a client feels meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from daemons import Daemon

from pycontainerd.client import Client

OBJECTS = int(os.environ.get("OBJECTS", "20000"))
AT_ONCE = 16
ROOT = {"containerd.io/gc.root": "benchmark"}


async def fill(client: Client, count: int) -> None:
    """``count`` blobs and snapshots, half of each; every other one is kept by nothing but the lease ``benchmark``."""
    await client.leases.create("benchmark")
    under = client.under("benchmark")
    snapshots = under.snapshots("native")

    async def one(number: int) -> None:
        labels = ROOT if number % 4 < 2 else {}
        if number % 2:
            await snapshots.prepare(f"snapshot-{number}", labels=labels)
        else:
            async with under.content.writer(f"blob-{number}") as ingest:
                await ingest.write(b"%d" % number)
                await ingest.commit(labels=labels)

    pending = iter(range(count))

    async def worker() -> None:
        for number in pending:
            await one(number)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


class Probe:
    """A client that calls all the time; ``longest`` is the longest call in seconds."""

    def __init__(self, call: Callable[[], Awaitable[object]]) -> None:
        self._call = call
        self.longest = 0.0
        self.calls = 0

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await self._call()
            self.longest = max(self.longest, time.monotonic() - began)
            self.calls += 1
            await asyncio.sleep(0.002)


async def collect(address: str) -> tuple[float, float, float]:
    """Seconds of a collection that takes half of everything; the longest reading and writing call meanwhile."""
    async with Client(address, namespace="bench") as client, Client(address, namespace="other") as other:
        await fill(client, OBJECTS)

        async def write() -> None:
            lease = await other.leases.create()
            await other.leases.delete(lease.id)

        probes = [Probe(other.namespaces.list), Probe(write)]
        tasks = [asyncio.create_task(probe.run()) for probe in probes]
        await asyncio.sleep(0.5)
        for probe in probes:
            probe.longest = 0.0
        began = time.monotonic()
        await client.leases.delete("benchmark", sync=True)
        total = time.monotonic() - began
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = len([info async for info in client.snapshots("native").walk()])
        if left != OBJECTS // 4:
            raise RuntimeError(f"{left} snapshots are left after the collection, not {OBJECTS // 4}")
        return total, probes[0].longest, probes[1].longest / 2


def measure(daemon: Daemon) -> tuple[float, float, float]:
    """`collect` on a daemon that is started and stopped for it."""
    daemon.start()
    try:
        return asyncio.run(collect(daemon.address))
    finally:
        daemon.stop()
