"""Daemons and shims that are killed: containers live on, and what happened is told once."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterator

import pytest

from pycontainerd.client import Client
from pycontainerd.client.task import exec_process, load_task
from pycontainerd.contracts.errors import DeadlineExceeded, NotFound, Unavailable
from pycontainerd.contracts.runtime import Status
from pycontainerd.oci import from_any
from pycontainerd.testing import needs
from pycontainerd.testing.client import eventually
from pycontainerd.testing.daemon import Daemon

from .conftest import bundle, make, shims, watching

pytestmark = [pytest.mark.root, pytest.mark.interop]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon.ours() as one:
        yield one
        assert one.leftovers() == []


def namespace_of(daemon: Daemon) -> str:
    """Named after the daemon: runc's records of a namespace are the machine's."""
    return os.path.basename(daemon.directory).replace("_", "0")


def client_of(daemon: Daemon) -> Client:
    return Client(daemon.address, namespace=namespace_of(daemon))


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_container_outlives_its_daemon_and_is_controlled_by_the_next(
    daemon: Daemon, rootfs: str, runtime: str
) -> None:
    async def before() -> int:
        async with client_of(daemon) as client:
            task = await make(client, rootfs, "stays", runtime)
            return await task.start()

    async def after(pid: int) -> None:
        async with client_of(daemon) as client, watching(client) as watch:
            task = await load_task(client, "stays")
            assert (await task.state()).status is Status.RUNNING
            assert task.pid == pid
            spec = from_any((await client.containers.get("stays")).spec)
            added = await task.exec("e", exec_process(spec, ["/bin/sh", "-c", "exit 3"]))
            waiting = asyncio.ensure_future(added.wait())
            await added.start()
            assert (await waiting).status == 3
            await added.delete()
            waiting = asyncio.ensure_future(task.wait())
            await task.kill(signal.SIGTERM)
            await task.kill(signal.SIGKILL)
            assert (await waiting).status == 137
            await task.delete()
            await watch.until("delete", "stays")
            assert watch.exits("stays") == [("e", 3), ("stays", 137)]

    pid = asyncio.run(before())
    daemon.kill()
    assert alive(pid)
    daemon.start()
    asyncio.run(after(pid))


def test_exits_while_no_daemon_ran_are_told_once(daemon: Daemon, rootfs: str, runtime: str) -> None:
    async def before() -> tuple[int, int]:
        async with client_of(daemon) as client:
            task = await make(
                client, rootfs, "ends", runtime, ["/bin/sh", "-c", "trap 'exit 9' TERM; while :; do sleep 1; done"]
            )
            await task.start()
            spec = from_any((await client.containers.get("ends")).spec)
            added = await task.exec("e", exec_process(spec, ["/bin/sleep", "1000"]))
            return task.pid, await added.start()

    async def after() -> None:
        async with client_of(daemon) as client:
            task = await load_task(client, "ends")
            assert (await task.state()).status is Status.STOPPED
            assert (await client.tasks.get("ends", "e")).exit_status == 137
            assert (await task.wait()).status == 9
            await client.tasks.delete("ends", "e")
            assert (await task.delete()).status == 9
            with pytest.raises(NotFound):
                await task.state()

    first, second = asyncio.run(before())
    daemon.kill()
    os.kill(second, signal.SIGKILL)
    os.kill(first, signal.SIGTERM)
    eventually(lambda: not alive(first) and not alive(second), "they end")
    daemon.start()
    eventually(lambda: len(journal(daemon)) == 2, "both exits are recorded")
    # The shim of 1.6 repeats what it could not deliver for some seconds; a second daemon in between changes nothing.
    daemon.restart()
    time.sleep(1.5)
    assert len(journal(daemon)) == 2
    asyncio.run(after())


def journal(daemon: Daemon) -> list[str]:
    path = bundle(daemon, namespace_of(daemon), "ends") + "/processes.log"
    with open(path, encoding="utf-8") as file:
        return [line for line in file if '"exit"' in line]


def test_a_shim_that_is_killed_takes_its_task_along(daemon: Daemon, rootfs: str, runtime: str) -> None:
    async def test() -> None:
        async with client_of(daemon) as client, watching(client) as watch:
            task = await make(client, rootfs, "victim", runtime)
            await task.start()
            waiting = asyncio.ensure_future(task.wait())
            await asyncio.sleep(0.1)
            (shim,) = shims(daemon)
            os.kill(shim, signal.SIGKILL)
            assert (await waiting).status == 137
            await watch.until("delete", "victim")
            assert watch.topics("victim") == ["create", "start", "exit", "delete"]
            assert watch.exits("victim") == [("victim", 137)]
            assert not alive(task.pid)
            with pytest.raises(NotFound):
                await task.state()
            assert "victim" not in " ".join(daemon.tree())
            # The name is free again.
            again = await load_again(client)
            assert again > 0

    async def load_again(client: Client) -> int:
        from pycontainerd.client.task import create_task

        task = await create_task(client, "victim")
        pid = await task.start()
        await task.kill(signal.SIGKILL)
        await task.wait()
        await task.delete()
        return pid

    asyncio.run(test())


def test_a_shim_that_died_while_no_daemon_ran_is_buried_by_the_next(daemon: Daemon, rootfs: str, runtime: str) -> None:
    async def before() -> int:
        async with client_of(daemon) as client:
            task = await make(client, rootfs, "lost", runtime)
            return await task.start()

    async def after() -> None:
        async with client_of(daemon) as client:
            with pytest.raises(NotFound):
                await client.tasks.get("lost")
            assert await client.tasks.list() == []

    pid = asyncio.run(before())
    (shim,) = shims(daemon)
    daemon.kill()
    os.kill(shim, signal.SIGKILL)
    daemon.start()
    asyncio.run(after())
    assert not alive(pid)
    assert not os.path.exists(bundle(daemon, namespace_of(daemon), "lost"))


def test_what_crashes_leave_on_disk_is_removed(daemon: Daemon) -> None:
    daemon.stop()
    namespace = namespace_of(daemon)
    half = bundle(daemon, namespace, "half")
    os.makedirs(f"{half}/rootfs")
    hidden = bundle(daemon, namespace, ".leaving")
    os.makedirs(f"{hidden}/rootfs")
    orphan = f"{daemon.root}/io.containerd.runtime.v2.task/{namespace}/rebooted"
    os.makedirs(f"{orphan}/data")
    never = bundle(daemon, namespace, "never")
    os.makedirs(f"{never}/rootfs")
    with open(f"{never}/config.json", "w", encoding="utf-8") as file:
        file.write("{}")
    daemon.start()
    for path in (half, hidden, orphan, never):
        eventually(lambda path=path: not os.path.exists(path), f"{path} goes")


def test_tasks_of_the_go_containerd_are_taken_over(rootfs: str) -> None:
    async def before(daemon: Daemon) -> int:
        async with client_of(daemon) as client:
            task = await make(client, rootfs, "taken", "io.containerd.runc.v2")
            return await task.start()

    async def after(daemon: Daemon, pid: int) -> None:
        async with client_of(daemon) as client:
            task = await load_task(client, "taken")
            assert task.pid == pid
            await task.kill(signal.SIGKILL)
            assert (await task.wait()).status == 137
            await task.delete()

    with (
        tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as directory,
        Daemon.go(needs.command("containerd"), directory=directory) as go,
    ):
        pid = asyncio.run(before(go))
        go.stop()
        with Daemon.ours(directory=directory) as ours:
            asyncio.run(after(ours, pid))
            assert ours.leftovers() == []


def test_a_shim_that_hangs_delays_nobody_else(daemon: Daemon, rootfs: str) -> None:
    async def before() -> None:
        async with client_of(daemon) as client:
            for name in ("hangs", "answers"):
                task = await make(client, rootfs, name, "io.containerd.runc.v2")
                await task.start()

    async def after() -> None:
        async with client_of(daemon) as client:
            assert (await client.tasks.get("answers")).status is Status.RUNNING
            found = {one.container_id: one.status for one in await client.tasks.list()}
            assert found == {"hangs": Status.UNKNOWN, "answers": Status.RUNNING}
            for _ in range(4):  # in the end it is not even asked
                with pytest.raises((DeadlineExceeded, Unavailable), match="hangs"):
                    await client.tasks.get("hangs")

    async def state(client: Client, name: str) -> Status | None:
        try:
            return (await client.tasks.get(name)).status
        except Unavailable:  # it is not asked yet
            return None

    async def then() -> None:
        async with client_of(daemon) as client:
            found = None
            for _ in range(300):
                found = found or await state(client, "hangs")
                await asyncio.sleep(0 if found else 0.1)
            assert found is Status.RUNNING
            for name in ("hangs", "answers"):
                await client.tasks.kill(name, signal.SIGKILL)
                await client.tasks.wait(name)
                await client.tasks.delete(name)

    asyncio.run(before())
    (shim,) = [pid for pid in shims(daemon) if "hangs" in command(pid)]
    daemon.kill()
    os.kill(shim, signal.SIGSTOP)
    try:
        daemon.start()
        asyncio.run(after())
    finally:
        os.kill(shim, signal.SIGCONT)
    asyncio.run(then())


def command(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
        return file.read()
