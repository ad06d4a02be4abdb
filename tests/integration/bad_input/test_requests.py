"""Requests that cannot be met: each gets a typed error that says why, and nothing half-made stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator

import grpc
import grpc.aio
import pytest

from pycontainerd.api.services.containers.v1 import containers_pb2
from pycontainerd.client import Client
from pycontainerd.client.launch import Plan, create_container
from pycontainerd.client.task import create_task
from pycontainerd.client.transfer import ImageOptions
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, InvalidArgument, NotFound
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

from .conftest import inventory, leaves_nothing

pytestmark = pytest.mark.root
Work = Callable[[Client], Awaitable[None]]


@pytest.fixture
def held(our_containerd_module: Daemon, image_archive: str) -> Iterator[Callable[[Work], None]]:
    """Runs a coroutine with a client in a namespace that has the image."""
    ctr = Ctr(OURS, our_containerd_module.address)
    ctr("images", "import", image_archive)

    def run(work: Work) -> None:
        async def inside() -> None:
            async with Client(our_containerd_module.address, namespace=ctr.namespace) as client:
                await work(client)

        asyncio.run(inside())

    yield run


async def _start(client: Client, plan: Plan) -> None:
    """Create, and remove the container should its task not come to be: what a client does."""
    await create_container(client, IMAGE, plan)
    try:
        async with asyncio.timeout(30):
            task = await create_task(client, plan.id)
            await task.start()
    except ContainerdError:
        await client.containers.delete(plan.id)
        await client.snapshots(plan.snapshotter).remove(plan.id)
        raise


@pytest.mark.parametrize(
    ("runtime", "named"),
    [
        ("io.containerd.nosuch.v1", "nosuch"),
        ("/nonexistent/containerd-shim-x-v2", "/nonexistent/containerd-shim-x-v2"),
        ("nonsense", "nonsense"),
        ("../../bin/sh", "bin/sh"),
    ],
)
def test_an_unknown_runtime_is_named(
    held: Callable[[Work], None], our_containerd_module: Daemon, runtime: str, named: str
) -> None:
    async def work(client: Client) -> None:
        async with leaves_nothing(our_containerd_module, client) as error:
            await _start(client, Plan("odd", args=("/bin/true",), runtime=runtime))
        assert named in str(error())
        assert isinstance(error(), (NotFound, InvalidArgument))

    held(work)


def test_an_unknown_snapshotter_is_named(held: Callable[[Work], None], our_containerd_module: Daemon) -> None:
    async def work(client: Client) -> None:
        async with leaves_nothing(our_containerd_module, client) as error:
            await create_container(client, IMAGE, Plan("odd", snapshotter="nosuch"))
        assert "nosuch" in str(error())

    held(work)


def test_a_program_that_is_not_in_the_image_is_named(
    held: Callable[[Work], None], our_containerd_module: Daemon
) -> None:
    async def work(client: Client) -> None:
        async with leaves_nothing(our_containerd_module, client) as error:
            await _start(client, Plan("odd", args=("/bin/nosuchprogram",)))
        assert "nosuchprogram" in str(error())

    held(work)


def test_a_task_can_be_made_once_only(held: Callable[[Work], None], our_containerd_module: Daemon) -> None:
    async def work(client: Client) -> None:
        await create_container(client, IMAGE, Plan("twin", args=("/bin/sleep", "1000")))
        task = await create_task(client, "twin")
        await task.start()
        try:
            before = await inventory(our_containerd_module, client.namespace)
            with pytest.raises(AlreadyExists, match="twin"):
                await create_task(client, "twin")
            with pytest.raises(AlreadyExists, match="twin"):
                await create_container(client, IMAGE, Plan("twin"))
            assert await inventory(our_containerd_module, client.namespace) == before
        finally:
            await task.kill(signal.SIGKILL, everything=True)
            await task.wait()
            await task.delete()
            await client.containers.delete("twin")
            await client.snapshots().remove("twin")

    held(work)


def test_without_runc_a_container_does_not_start_and_the_error_says_what_to_install(
    image_archive: str, tmp_path: os.PathLike[str]
) -> None:
    with Daemon.ours(environment={"PATH": str(tmp_path)}) as daemon:
        Ctr(OURS, daemon.address, "default")("images", "import", image_archive)

        async def work() -> None:
            async with Client(daemon.address) as client:
                async with leaves_nothing(daemon, client) as error:
                    await _start(client, Plan("odd", args=("/bin/true",)))
                assert "runc" in str(error())

        asyncio.run(work())


def test_a_task_whose_processes_are_gone_is_stopped_and_can_be_removed(
    held: Callable[[Work], None], our_containerd_module: Daemon
) -> None:
    async def work(client: Client) -> None:
        await create_container(client, IMAGE, Plan("gone", args=("/bin/sleep", "1000")))
        task = await create_task(client, "gone")
        pid = await task.start()
        os.kill(pid, signal.SIGKILL)
        assert (await task.wait()).status == 137
        with pytest.raises(NotFound):
            await task.kill(signal.SIGTERM)
        await task.delete()
        await client.containers.delete("gone")
        await client.snapshots().remove("gone")
        assert not our_containerd_module.leftovers()

    held(work)


@pytest.mark.parametrize("name", ["", "no/slash", "..", "-first", "last-", "a" * 77, "ümlaut", "a b", "a\nb"])
def test_an_illegal_namespace_is_refused(our_containerd_module: Daemon, name: str) -> None:
    async def work() -> None:
        async with Client(our_containerd_module.address) as client:
            before = await client.namespaces.list()
            with pytest.raises(InvalidArgument):
                await client.namespaces.create(name, {})
            assert await client.namespaces.list() == before

    asyncio.run(work())


def test_a_request_without_a_namespace_is_told_how_to_name_one(our_containerd_module: Daemon) -> None:
    async def work() -> None:
        async with grpc.aio.insecure_channel(
            f"unix://{our_containerd_module.address}", options=[("grpc.default_authority", "localhost")]
        ) as channel:
            call = channel.unary_unary(
                "/containerd.services.containers.v1.Containers/List",
                containers_pb2.ListContainersRequest.SerializeToString,
                containers_pb2.ListContainersResponse.FromString,
            )
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call(containers_pb2.ListContainersRequest())
            assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "containerd-namespace" in str(failure.value.details())

    asyncio.run(work())


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", "x" * 100], ids=["parent", "slash", "empty", "long"])
def test_a_container_with_an_illegal_name_is_refused(
    held: Callable[[Work], None], our_containerd_module: Daemon, name: str
) -> None:
    async def work(client: Client) -> None:
        async with leaves_nothing(our_containerd_module, client) as error:
            await create_container(client, IMAGE, Plan(name))
        assert isinstance(error(), InvalidArgument)

    held(work)


def test_an_ingest_with_the_wrong_digest_is_refused(
    held: Callable[[Work], None], our_containerd_module: Daemon
) -> None:
    async def work(client: Client) -> None:
        wrong = "sha256:" + "0" * 64
        async with leaves_nothing(our_containerd_module, client) as error:
            try:
                await client.content.write(f"wrong-{uuid.uuid4().hex}", b"not that", expected=wrong)
            finally:
                for status in await client.content.statuses():
                    await client.content.abort(status.ref)
        assert wrong in str(error())

    held(work)


def test_a_pull_from_a_registry_that_is_not_there_is_refused(
    held: Callable[[Work], None], our_containerd_module: Daemon
) -> None:
    async def work(client: Client) -> None:
        from pycontainerd.client.transfer import Registry

        async with leaves_nothing(our_containerd_module, client) as error:
            await client.transfer.pull(
                Registry("127.0.0.1:1/none:1", plain_http=True), "127.0.0.1:1/none:1", ImageOptions()
            )
        assert "127.0.0.1:1" in str(error())

    held(work)
