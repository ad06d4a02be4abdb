"""The transfer service with a real daemon: import, export, tag, push and pull, by our client and by the Go tools."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
import uuid

import pytest

from pycontainerd.api import anys
from pycontainerd.api.services.transfer.v1 import transfer_pb2
from pycontainerd.api.types.transfer import imagestore_pb2, importexport_pb2, registry_pb2
from pycontainerd.client import Client
from pycontainerd.client.transfer import ImageOptions
from pycontainerd.contracts.errors import (
    ContainerdError,
    InvalidArgument,
    NotFound,
    NotImplemented,
)
from pycontainerd.contracts.platforms import default_platform, parse
from pycontainerd.testing import images, needs
from pycontainerd.testing.client import OURS, Ctr

pytestmark = pytest.mark.root
NAME = "r.test/a:1"
GO_CTR = os.environ.get("GO_CTR", "")


def new_image():
    return images.image([images.layer([images.Node("a", os.urandom(300_000))]), images.layer([images.Node("b", b"x")])])


async def pieces(data, size=50_000):
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture
def work(our_containerd_module):
    """Run a coroutine function with a client in a namespace of its own; there nothing may be under way afterwards."""
    namespace = f"n{uuid.uuid4().hex[:8]}"

    def run(function):
        async def inner():
            async with Client(our_containerd_module.address, namespace=namespace) as client:
                try:
                    return await function(client)
                finally:
                    assert not await client.leases.list()
                    assert not await client.content.statuses()

        return asyncio.run(inner())

    run.namespace = namespace
    return run


async def load(client, data, *, unpack=("",), platforms=(), tell=None, **options):
    wanted = ImageOptions(
        unpack=unpack, unpack_platform=default_platform(), platforms=platforms or [default_platform()]
    )
    await client.transfer.import_archive(
        pieces(data),
        wanted,
        base_name=options.pop("base_name", "r.test/base"),
        overwrite=True,
        on_progress=tell,
        **options,
    )


async def snapshots(client):
    return [info.name async for info in client.snapshots("").walk()]


async def names(client):
    return sorted(image.name for image in await client.images.list())


def exported(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


@pytest.mark.parametrize("archive", [images.oci_archive, images.docker_archive], ids=["oci", "docker"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_archive_is_imported_named_unpacked_and_labelled(work, archive, pack):
    image = new_image()

    async def run(client):
        await load(client, pack(archive({NAME: image})))
        target = (await client.images.get(NAME)).target
        labels = (await client.content.info(target.digest)).labels
        assert labels["containerd.io/gc.ref.content.config"] == image.config.digest
        assert "containerd.io/gc.ref.content.l.1" in labels
        config = (await client.content.info(image.config.digest)).labels
        made = await snapshots(client)
        assert len(made) == 2
        assert any(key.startswith("containerd.io/gc.ref.snapshot.") and value in made for key, value in config.items())

    work(run)


def test_what_happens_is_told_in_order(work):
    events = []

    def tell(event):
        events.append((event.event, event.name))

    work(lambda client: load(client, images.oci_archive({NAME: new_image()}), tell=tell))
    assert events[0] == ("Importing", "")
    assert events[-2:] == [("saved", NAME), ("Completed import", "")]
    assert [event for event, _ in events].count("extracted") == 2


def test_images_are_named_by_prefix_tag_digest_and_index(work):
    image = new_image()

    async def run(client):
        await load(
            client, images.oci_archive({NAME: image}), digests=True, base_name="r.test/a", index_name="r.test/all:1"
        )
        index = (await client.images.get("r.test/all:1")).target.digest
        assert await names(client) == sorted(
            [NAME, f"r.test/a@{image.target.digest}", "r.test/all:1", f"r.test/a@{index}"]
        )

    work(run)


def test_of_an_index_only_the_wanted_platform_must_be_there(work):
    index = images.multi_platform()
    other = json.loads(index.target.data)["manifests"][1]["digest"]
    archive = images.oci_archive({NAME: index}, leave_out=[other])

    async def run(client):
        await load(client, archive)
        assert len(await snapshots(client)) == 2
        with pytest.raises(NotFound):
            await load(client, archive, platforms=[parse("linux/s390x")])

    work(run)


def test_an_export_is_the_archive_that_was_imported(work):
    image = new_image()

    async def run(client):
        await load(client, images.oci_archive({NAME: image}))
        data = b"".join([chunk async for chunk in client.transfer.export_archive([NAME])])
        files = exported(data)
        for digest, blob in image.blobs.items():
            assert files[f"blobs/{digest.replace(':', '/')}"] == blob
        assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        (described,) = json.loads(files["index.json"])["manifests"]
        assert described["annotations"]["io.containerd.image.name"] == NAME
        (docker,) = json.loads(files["manifest.json"])
        assert docker["RepoTags"] == [NAME]
        await client.images.delete(NAME)
        await load(client, data)
        assert (await client.images.get(NAME)).target.digest == image.target.digest

    work(run)


def test_only_what_is_there_can_be_exported_or_tagged(work):
    async def run(client):
        with pytest.raises(NotFound):
            _ = [chunk async for chunk in client.transfer.export_archive(["r.test/none:1"])]
        with pytest.raises(NotFound):
            await client.transfer.tag("r.test/none:1", NAME)
        await load(client, images.oci_archive({NAME: new_image()}))
        await client.transfer.tag(NAME, "r.test/b:2")
        await client.transfer.tag(NAME, "r.test/b:2")
        assert await names(client) == [NAME, "r.test/b:2"]

    work(run)


def test_an_unknown_snapshotter_is_named_and_leaves_nothing(work):
    async def run(client):
        with pytest.raises(InvalidArgument, match="nosuch"):
            await load(client, images.oci_archive({NAME: new_image()}), unpack=["nosuch"])
        assert await names(client) == []

    work(run)


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(work):
    data = images.oci_archive({NAME: new_image()})

    async def slow():
        yield data[: len(data) // 2]
        await asyncio.Event().wait()

    async def run(client):
        task = asyncio.create_task(
            client.transfer.import_archive(slow(), ImageOptions(unpack=[""]), base_name="r.test/a", overwrite=True)
        )
        for _ in range(500):
            if await client.content.statuses():
                break
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(250):
            if not await client.content.statuses() and not await client.leases.list():
                break
            await asyncio.sleep(0.02)
        assert await names(client) == []
        assert await snapshots(client) == []

    work(run)


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        (imagestore_pb2.ImageStore(), imagestore_pb2.ImageStore(name="a"), ContainerdError),
        (registry_pb2.OCIRegistry(reference="short"), imagestore_pb2.ImageStore(name="a"), InvalidArgument),
        (registry_pb2.OCIRegistry(reference=NAME), registry_pb2.OCIRegistry(reference=NAME), NotImplemented),
        (importexport_pb2.ImageImportStream(stream="none"), imagestore_pb2.ImageStore(name="a"), NotFound),
        (imagestore_pb2.ImageStore(name="a"), importexport_pb2.ImageExportStream(stream="none"), NotFound),
    ],
)
def test_what_cannot_be_transferred_is_refused(work, source, target, error):
    async def run(client):
        with pytest.raises(error):
            await client.transfer.transfer(source, target)

    work(run)


@pytest.mark.parametrize("value", [b"\xff", b""])
def test_a_request_that_cannot_be_read_is_refused(work, value):
    async def run(client):
        request = transfer_pb2.TransferRequest(source=anys.pack(imagestore_pb2.ImageStore(name="a")))
        request.destination.type_url, request.destination.value = "containerd.types.transfer.None", value
        with pytest.raises(InvalidArgument):
            await client.transfer._stub.unary("Transfer", request)

    work(run)


def _clients():
    """Ours and the distribution's; a newer one of the Go containerd where GO_CTR names it."""
    newer = [pytest.param((GO_CTR,), id="go")] if GO_CTR else []
    return [pytest.param(OURS, id="ours"), pytest.param(("debian",), id="debian"), *newer]


@pytest.mark.parametrize("command", _clients())
def test_the_command_line_tools_pull_push_import_and_export(our_containerd_module, registry, tmp_path, command):
    if command == ("debian",):
        command = (needs.command("ctr"),)
    ctr = Ctr(command, our_containerd_module.address)
    image = new_image()
    (tmp_path / "in.tar").write_bytes(images.oci_archive({NAME: image}))
    ctr("images", "import", str(tmp_path / "in.tar"))
    ctr("images", "tag", NAME, "r.test/b:2")
    repository = f"tools/{uuid.uuid4().hex[:8]}"
    ctr("images", "push", "--plain-http", f"{registry.host}/{repository}:1", NAME)
    ctr("images", "rm", NAME, "r.test/b:2")
    ctr("images", "pull", "--plain-http", f"{registry.host}/{repository}:1")
    assert image.target.digest in ctr("images", "ls")
    ctr("images", "export", str(tmp_path / "out.tar"), f"{registry.host}/{repository}:1")
    assert f"blobs/{image.target.digest.replace(':', '/')}" in exported((tmp_path / "out.tar").read_bytes())
    assert len(ctr("snapshots", "ls").splitlines()) == 3
    assert ctr("content", "active", check=False).count("\n") <= 1
