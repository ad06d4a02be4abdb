"""A container's root, a client, and the events of a daemon, for tests that run tasks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence

import attrs
import pytest

from pycontainerd.api.events import task_pb2
from pycontainerd.client import Client
from pycontainerd.client.launch import Plan, create_rootfs_container
from pycontainerd.client.task import Task, create_task
from pycontainerd.contracts.events import Envelope
from pycontainerd.contracts.types import AnyValue
from pycontainerd.testing import needs
from pycontainerd.testing.daemon import Daemon

BUSYBOX = "/bin/busybox"
SLEEP = ("/bin/sleep", "1000")


@pytest.fixture(scope="module")
def rootfs() -> Iterator[str]:
    """A directory with busybox in it."""
    needs.root()
    if not os.path.exists(BUSYBOX):
        needs.missing("busybox is not installed (Debian's package busybox-static)")
    path = tempfile.mkdtemp(prefix="pyc-r", dir="/tmp")
    for name in ("bin", "proc", "dev", "sys", "etc", "run", "tmp"):
        os.mkdir(f"{path}/{name}")
    shutil.copy(BUSYBOX, f"{path}/bin/busybox")
    for name in ("sh", "sleep", "true", "false", "cat"):
        os.symlink("busybox", f"{path}/bin/{name}")
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["/usr/bin/containerd-shim-runc-v2", "io.containerd.runc.v2"], ids=["theirs", "ours"])
def runtime(request: pytest.FixtureRequest) -> str:
    """The distribution's shim by its path; the name is claimed by our own."""
    return str(request.param)


@attrs.define
class Watch:
    """Events of tasks, as they come."""

    seen: list[Envelope] = attrs.field(factory=list)
    more: asyncio.Event = attrs.field(factory=asyncio.Event)

    def topics(self, container: str) -> list[str]:
        return [one.topic.removeprefix("/tasks/") for one in self.seen if self._of(one, container)]

    def exits(self, container: str) -> list[tuple[str, int]]:
        """Process and status of each."""
        found = []
        for one in self.seen:
            if one.topic == "/tasks/exit" and self._of(one, container):
                assert isinstance(one.event, AnyValue)
                message = task_pb2.TaskExit.FromString(one.event.value)
                found.append((message.id, message.exit_status))
        return found

    async def until(self, topic: str, container: str) -> None:
        async with asyncio.timeout(20):
            while topic not in self.topics(container):
                self.more.clear()
                await self.more.wait()

    @staticmethod
    def _of(one: Envelope, container: str) -> bool:
        assert isinstance(one.event, AnyValue)
        kind = getattr(task_pb2, one.event.type_url.rpartition(".")[2])
        return bool(kind.FromString(one.event.value).container_id == container)


@contextlib.asynccontextmanager
async def watching(client: Client) -> AsyncIterator[Watch]:
    watch = Watch()
    probe = asyncio.Event()

    async def listen() -> None:
        async for one in client.events.subscribe(['topic~="^/tasks/"', 'topic=="/probe"']):
            probe.set()
            if one.topic != "/probe":
                watch.seen.append(one)
                watch.more.set()

    listening = asyncio.ensure_future(listen())
    while not probe.is_set():  # until the subscription is known to stand
        await client.events.publish("/probe", AnyValue("probe"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(probe.wait(), 0.1)
    try:
        yield watch
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def make(client: Client, rootfs: str, name: str, runtime: str, args: Sequence[str] = SLEEP) -> Task:
    await create_rootfs_container(client, rootfs, Plan(name, args=args, runtime=runtime))
    return await create_task(client, name)


def shims(daemon: Daemon) -> list[int]:
    """The pids of the shims of ``daemon``."""
    found = subprocess.run(["pgrep", "-f", f"shim.*{daemon.directory}"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def bundle(daemon: Daemon, namespace: str, name: str) -> str:
    return f"{daemon.state}/io.containerd.runtime.v2.task/{namespace}/{name}"
