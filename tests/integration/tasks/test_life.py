"""Tasks from creation to deletion, with a real daemon and the distribution's shim."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import uuid
from collections.abc import Awaitable, Callable

import pytest

from pycontainerd.api.services.tasks.v1 import tasks_pb2 as pb
from pycontainerd.api.types.runc.options.oci_pb2 import Options
from pycontainerd.client import Client
from pycontainerd.client.launch import Plan, create_rootfs_container
from pycontainerd.client.task import create_task, exec_process
from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    InvalidArgument,
    NotFound,
    NotImplemented,
)
from pycontainerd.contracts.runtime import Status
from pycontainerd.contracts.types import AnyValue
from pycontainerd.oci import default_spec, from_any
from pycontainerd.testing.daemon import Daemon

from .conftest import SLEEP, make, watching

pytestmark = [pytest.mark.root, pytest.mark.interop]


def run(daemon: Daemon, test: Callable[[Client], Awaitable[None]]) -> None:
    """``test`` with a client in a namespace of its own; afterwards nothing of a task may be there."""

    async def inside() -> None:
        async with Client(daemon.address, namespace=f"ns-{uuid.uuid4().hex[:8]}") as client:
            await test(client)

    asyncio.run(inside())
    assert daemon.leftovers() == []
    assert [path for path in daemon.tree() if "runtime.v2.task/ns-" in path and path.count("/") > 2] == []


def test_a_task_is_created_started_killed_and_deleted_with_its_events(
    our_containerd_module: Daemon, rootfs: str, runtime: str
) -> None:
    async def test(client: Client) -> None:
        async with watching(client) as watch:
            task = await make(client, rootfs, "one", runtime)
            assert (await task.state()).status is Status.CREATED
            assert await task.start() == task.pid > 0
            state = await task.state()
            assert (state.status, state.pid) == (Status.RUNNING, task.pid)
            assert [one.container_id for one in await client.tasks.list()] == ["one"]
            assert [one.pid for one in await task.pids()] == [task.pid]
            await task.kill(signal.SIGKILL)
            assert (await task.wait()).status == 137
            assert (await task.delete()).status == 137
            await watch.until("delete", "one")
            assert watch.topics("one") == ["create", "start", "exit", "delete"]
            assert watch.exits("one") == [("one", 137)]
        with pytest.raises(NotFound):
            await task.state()

    run(our_containerd_module, test)


def test_execs_run_beside_the_first_process(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        task = await make(client, rootfs, "two", runtime)
        await task.start()
        spec = from_any((await client.containers.get("two")).spec)
        added = await task.exec("more", exec_process(spec, ["/bin/sh", "-c", "exit 7"]))
        waiting = asyncio.ensure_future(added.wait())
        await asyncio.sleep(0)
        await added.start()
        assert (await waiting).status == 7
        assert (await added.delete()).status == 7
        with pytest.raises(NotFound):
            await added.state()
        with pytest.raises(InvalidArgument):
            await task.exec("bad id!", exec_process(spec, ["/bin/true"]))
        await task.kill(signal.SIGKILL, everything=True)
        await task.wait()
        await task.delete()

    run(our_containerd_module, test)


def test_a_task_is_paused_resumed_updated_and_measured(
    our_containerd_module: Daemon, rootfs: str, runtime: str
) -> None:
    async def test(client: Client) -> None:
        task = await make(client, rootfs, "three", runtime)
        await task.start()
        await task.pause()
        assert (await task.state()).status is Status.PAUSED
        await task.resume()
        assert (await task.state()).status is Status.RUNNING
        limits = AnyValue("types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", b'{"pids":{"limit":77}}')
        await client.tasks.update("three", limits)
        assert [one.id for one in await client.tasks.metrics()] == ["three"]
        assert [one.id for one in await client.tasks.metrics(["id==three"])] == ["three"]
        assert await client.tasks.metrics(["id==other"]) == []
        await task.kill(signal.SIGKILL)
        await task.wait()
        await task.delete()

    run(our_containerd_module, test)


def test_a_running_task_is_not_deleted(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        task = await make(client, rootfs, "four", runtime)
        await task.start()
        with pytest.raises(ContainerdError, match="running"):  # the shim of 1.6 has no better type
            await task.delete()
        assert (await task.state()).status is Status.RUNNING
        await task.kill(signal.SIGKILL)
        await task.wait()
        first, second = await asyncio.gather(
            client.tasks.delete("four"), client.tasks.delete("four"), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in (first, second)) == ["Exit", "NotFound"]

    run(our_containerd_module, test)


def test_options_of_the_runtime_reach_its_shim(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        for name, options in (("good", Options(no_pivot_root=True)), ("bad", Options(binary_name="no-such-runc"))):
            packed = AnyValue("containerd.runc.v1.Options", options.SerializeToString())
            plan = Plan(name, args=SLEEP, runtime=runtime, runtime_options=packed)
            await create_rootfs_container(client, rootfs, plan)
        with pytest.raises(ContainerdError, match="no-such-runc"):
            await create_task(client, "bad")
        task = await create_task(client, "good")
        await task.kill(signal.SIGKILL)
        await task.wait()
        await task.delete()

    run(our_containerd_module, test)


def test_a_task_may_live_in_the_shim_of_another(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        host = await make(client, rootfs, "host", runtime)
        await host.start()
        path = f"{our_containerd_module.state}/io.containerd.runtime.v2.task/{client.namespace}/host/bootstrap.json"
        address = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["address"]  # noqa: ASYNC240
        stub = client.stub("containerd.services.tasks.v1.Tasks")
        for name, place in (("guest", f"ttrpc+{address}"), ("nowhere", "ttrpc+unix:///nowhere.sock"), ("odd", "vsock")):
            await create_rootfs_container(client, rootfs, Plan(name, args=SLEEP, runtime=runtime))
            request = pb.CreateTaskRequest(container_id=name, task_api_address=place)
            if name == "guest":
                await stub.unary("Create", request)
                continue
            with pytest.raises(ContainerdError, match=r"nowhere\.sock|not the address"):
                await stub.unary("Create", request)
        assert len(await client.tasks.list()) == 2
        await client.tasks.kill("guest", signal.SIGKILL)
        await client.tasks.wait("guest")
        await client.tasks.delete("guest")
        assert (await host.state()).status is Status.RUNNING
        await host.kill(signal.SIGKILL)
        await host.wait()
        await host.delete()

    run(our_containerd_module, test)


def test_of_two_creations_of_one_name_one_succeeds(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        await create_rootfs_container(client, rootfs, Plan("five", args=SLEEP, runtime=runtime))
        found = await asyncio.gather(*(create_task(client, "five") for _ in range(3)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in found) == ["AlreadyExists", "AlreadyExists", "Task"]
        with pytest.raises(AlreadyExists):
            await create_task(client, "five")
        assert (await client.tasks.get("five")).status is Status.CREATED
        await client.tasks.kill("five", signal.SIGKILL)
        await client.tasks.wait("five")
        await client.tasks.delete("five")

    run(our_containerd_module, test)


@pytest.mark.parametrize(
    ("runtime", "error", "says"),
    [
        ("io.containerd.nothing.v9", NotFound, "containerd-shim-nothing-v9"),
        ("/nowhere/containerd-shim-x-v1", NotFound, "/nowhere/containerd-shim-x-v1"),
        ("../../etc/passwd", InvalidArgument, "not the name of a runtime"),
        ("runc", InvalidArgument, "not the name of a runtime"),
        ("/bin/true", ContainerdError, "no address"),
        ("/bin/false", ContainerdError, "status 1"),
        ("/etc/passwd", NotFound, "/etc/passwd"),
    ],
)
def test_a_runtime_that_is_none_is_named_and_leaves_nothing(
    our_containerd_module: Daemon, rootfs: str, runtime: str, error: type[ContainerdError], says: str
) -> None:
    async def test(client: Client) -> None:
        with pytest.raises(error, match=says):
            await make(client, rootfs, "six", runtime)
        assert await client.tasks.list() == []

    run(our_containerd_module, test)


def test_a_command_that_is_missing_leaves_nothing(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        with pytest.raises(ContainerdError, match="/no/such/command"):
            await make(client, rootfs, "seven", runtime, ["/no/such/command"])
        with pytest.raises(NotFound):
            await client.tasks.get("seven")

    run(our_containerd_module, test)


def test_a_broken_spec_leaves_nothing(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        spec = default_spec(client.namespace, "eight")
        spec["root"] = {"path": "/nowhere"}
        await create_rootfs_container(client, rootfs, Plan("eight", runtime=runtime, spec=spec))
        with pytest.raises(ContainerdError):
            await create_task(client, "eight")
        with pytest.raises(NotFound):
            await client.tasks.get("eight")

    run(our_containerd_module, test)


def test_a_missing_runc_is_told_and_leaves_nothing(rootfs: str, runtime: str, tmp_path: os.PathLike[str]) -> None:
    # Only the shim is on that PATH.
    with Daemon.ours(environment={"PATH": str(tmp_path)}) as daemon:

        async def test(client: Client) -> None:
            with pytest.raises(ContainerdError, match="runc"):
                await make(client, rootfs, "nine", runtime)

        run(daemon, test)


def test_checkpoints_are_refused_with_the_reason(our_containerd_module: Daemon) -> None:
    async def test(client: Client) -> None:
        stub = client.stub("containerd.services.tasks.v1.Tasks")
        with pytest.raises(NotImplemented, match="not in this release"):
            await stub.unary("Checkpoint", pb.CheckpointTaskRequest(container_id="x"))

    run(our_containerd_module, test)


def test_tasks_of_other_namespaces_are_not_seen(our_containerd_module: Daemon, rootfs: str, runtime: str) -> None:
    async def test(client: Client) -> None:
        task = await make(client, rootfs, "ten", runtime)
        other = client.in_namespace(f"{client.namespace}-b")
        assert await other.tasks.list() == []
        with pytest.raises(NotFound):
            await other.tasks.kill("ten", signal.SIGKILL)
        twin = await make(other, rootfs, "ten", runtime)
        assert twin.pid != task.pid
        for one, view in ((task, client), (twin, other)):
            await one.kill(signal.SIGKILL)
            await view.tasks.wait("ten")
            await view.tasks.delete("ten")

    run(our_containerd_module, test)
