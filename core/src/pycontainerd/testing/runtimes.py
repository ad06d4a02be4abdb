"""What every runtime must do, as a class of tests: containers of it, run by a real daemon. Needs root.

An author installs the package, and writes a subclass whose fixture ``handler`` gives what the plugin's init returns::

    class TestMine(RuntimeSuite):
        @pytest.fixture
        def handler(self):
            return MyHandler()
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import re
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from pycontainerd.client import Client
from pycontainerd.client.launch import Plan, create_rootfs_container
from pycontainerd.client.task import Task, create_task, exec_process
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, FailedPrecondition, NotFound
from pycontainerd.contracts.runtime import RuntimeHandler, Status
from pycontainerd.contracts.types import AnyValue
from pycontainerd.oci import from_any
from pycontainerd.oci.spec import RESOURCES_URL

from .daemon import Daemon

SLEEP = ("/bin/sleep", "1000")
_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+\.v\d+\Z")
Test = Callable[[Client], Awaitable[None]]


class RuntimeSuite:
    """The whole suite. ``pauses``: whether containers can be paused; ``limits``: whether their resources can be changed."""

    pauses = True
    limits = True

    @pytest.fixture
    def run(self, our_containerd_module: Daemon) -> Callable[[Test], None]:
        """Run a coroutine function with a client in a namespace of its own; no task or shim may be left of it."""

        def go(test: Test) -> None:
            async def inside() -> None:
                namespace = f"ns-{uuid.uuid4().hex[:8]}"
                async with Client(our_containerd_module.address, namespace=namespace) as client:
                    try:
                        await test(client)
                    finally:
                        left = [one.container_id for one in await client.tasks.list()]
                    assert left == []

            asyncio.run(inside())
            assert our_containerd_module.leftovers() == []

        return go

    @pytest.fixture
    def rootfs(self, host_rootfs: str) -> str:
        """A root file system in which /bin/sh runs."""
        return host_rootfs

    def test_the_handler_names_a_runtime_and_a_driver_that_can_be_imported(self, handler: RuntimeHandler) -> None:
        assert _NAME.match(handler.name), "a runtime's name ends in .v<number>, as io.containerd.runc.v2"
        module, _, attribute = handler.driver.partition(":")
        driver = getattr(importlib.import_module(module), attribute)
        assert callable(driver.runtime)

    def test_a_container_runs_and_its_exit_status_arrives(
        self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str
    ) -> None:
        async def test(client: Client) -> None:
            task = await make(client, rootfs, handler, ["/bin/sh", "-c", "exit 7"])
            assert (await task.state()).status is Status.CREATED
            assert await task.start() == task.pid > 0
            assert (await task.wait()).status == 7
            assert (await task.state()).status is Status.STOPPED
            assert (await task.delete()).status == 7
            with pytest.raises(NotFound):
                await task.state()

        run(test)

    def test_it_is_killed_by_a_signal(self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str) -> None:
        async def test(client: Client) -> None:
            async with running(client, rootfs, handler) as task:
                assert (await task.state()).status is Status.RUNNING
                assert task.pid in [one.pid for one in await task.pids()]
                await task.kill(signal.SIGKILL)
                assert (await task.wait()).status == 128 + signal.SIGKILL

        run(test)

    def test_a_created_container_can_be_deleted_without_a_start(
        self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str
    ) -> None:
        async def test(client: Client) -> None:
            task = await make(client, rootfs, handler)
            await task.kill(signal.SIGKILL)
            await task.wait()
            await task.delete()

        run(test)

    def test_a_running_container_is_not_deleted(
        self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str
    ) -> None:
        async def test(client: Client) -> None:
            async with running(client, rootfs, handler) as task:
                with pytest.raises(FailedPrecondition):
                    await task.delete()
                assert (await task.state()).status is Status.RUNNING

        run(test)

    def test_execs_have_their_own_exit_status(
        self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str
    ) -> None:
        async def test(client: Client) -> None:
            async with running(client, rootfs, handler) as task:
                spec = from_any((await client.containers.get(task.container_id)).spec)
                for name, status in (("one", 3), ("two", 0)):
                    added = await task.exec(name, exec_process(spec, ["/bin/sh", "-c", f"exit {status}"]))
                    await added.start()
                    assert (await added.wait()).status == status
                    assert (await added.delete()).status == status
                bad = await task.exec("bad", exec_process(spec, ["/no/such/command"]))
                with pytest.raises(ContainerdError):
                    await bad.start()
                assert (await task.state()).status is Status.RUNNING

        run(test)

    def test_it_is_paused_and_resumed(self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str) -> None:
        if not self.pauses:
            pytest.skip("this runtime does not pause, and says so")

        async def test(client: Client) -> None:
            async with running(client, rootfs, handler) as task:
                await task.pause()
                assert (await task.state()).status is Status.PAUSED
                await task.resume()
                assert (await task.state()).status is Status.RUNNING

        run(test)

    def test_its_resources_are_changed_and_measured(
        self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str
    ) -> None:
        if not self.limits:
            pytest.skip("this runtime changes no resources, and says so")

        async def test(client: Client) -> None:
            async with running(client, rootfs, handler) as task:
                resources = {"memory": {"limit": 64 << 20}}
                await client.tasks.update(task.container_id, AnyValue(RESOURCES_URL, json.dumps(resources).encode()))
                assert (await client.tasks.metrics())[0].id == task.container_id

        run(test)

    def test_a_command_that_is_missing_is_an_error_and_leaves_nothing(
        self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str
    ) -> None:
        async def test(client: Client) -> None:
            with pytest.raises(ContainerdError):
                await fails(client, rootfs, handler)

        run(test)

    def test_a_name_is_free_again_after_deletion(
        self, handler: RuntimeHandler, run: Callable[[Test], None], rootfs: str
    ) -> None:
        async def test(client: Client) -> None:
            for _ in range(2):
                async with running(client, rootfs, handler, name="same") as task:
                    with pytest.raises(AlreadyExists):
                        await create_task(client, "same")
                    assert (await task.state()).status is Status.RUNNING
                await client.containers.delete("same")

        run(test)


async def make(
    client: Client, rootfs: str, handler: RuntimeHandler, args: Sequence[str] = SLEEP, name: str = ""
) -> Task:
    """A created task of the runtime."""
    name = name or f"c{uuid.uuid4().hex[:8]}"
    await create_rootfs_container(client, rootfs, Plan(name, args=args, runtime=handler.name))
    return await create_task(client, name)


async def fails(client: Client, rootfs: str, handler: RuntimeHandler) -> None:
    """Run a command that is not there: creating it, or starting it, raises."""
    task = await make(client, rootfs, handler, ["/no/such/command"])
    try:
        await task.start()
    finally:
        with contextlib.suppress(ContainerdError):
            await task.kill(signal.SIGKILL)
        await task.wait()
        await task.delete()


@contextlib.asynccontextmanager
async def running(client: Client, rootfs: str, handler: RuntimeHandler, name: str = "") -> AsyncIterator[Task]:
    """A running task that sleeps; gone afterwards."""
    task = await make(client, rootfs, handler, name=name)
    try:
        await task.start()
        yield task
    finally:
        with contextlib.suppress(NotFound):
            await task.kill(signal.SIGKILL)
        await task.wait()
        await task.delete()
