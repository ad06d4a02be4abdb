"""Archives imported by the client itself and by the server, on the Go containerd and on ours."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import uuid
from typing import Any

import pytest

from pycontainerd.client import Client
from pycontainerd.client.archive import Naming, import_archive
from pycontainerd.client.manifest import platforms, resolve
from pycontainerd.client.unpack import is_unpacked, unpack
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.platforms import parse
from pycontainerd.testing import images
from pycontainerd.testing.rootfs import Node

pytestmark = [pytest.mark.root, pytest.mark.interop]


@pytest.fixture(scope="module", params=["debian", "our"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_containerd_module").address)


@pytest.fixture
def namespace() -> str:
    return f"ns-{uuid.uuid4().hex[:8]}"


def small(text: bytes = b"1", **kwargs: Any) -> images.Image:
    return images.image([images.layer([Node("a", text)]), images.layer([Node("b", text)], "zstd")], **kwargs)


async def imported(client: Client, data: bytes, naming: Naming | None = None, **kwargs: Any) -> list[Image]:
    return await import_archive(client, io.BytesIO(data), naming or Naming("base"), **kwargs)


def run(address: str, namespace: str, work: Any) -> Any:
    import asyncio

    async def main() -> Any:
        async with Client(address, namespace=namespace) as client:
            return await work(client)

    return asyncio.run(main())


async def nothing(client: Client) -> None:
    """Nothing half-made is in the namespace."""
    assert await client.images.list() == []
    assert await client.leases.list() == []
    assert [item async for item in client.snapshots().walk()] == []


def test_every_image_of_an_oci_archive_is_named(address: str, namespace: str) -> None:
    async def work(client: Client) -> None:
        data = images.oci_archive({"x.test/one:1": small(), "x.test/two:2": small(b"2")})
        found = await imported(client, data)
        assert {image.name for image in found} == {"x.test/one:1", "x.test/two:2"}
        for image in found:
            resolved = await unpack(client, image)
            assert await is_unpacked(client, resolved)
        await client.images.delete("x.test/one:1")
        await client.images.delete("x.test/two:2", sync=True)

    run(address, namespace, work)


def test_a_compressed_archive_is_read(address: str, namespace: str) -> None:
    data = gzip.compress(images.oci_archive({"x.test/one:1": small()}))
    assert [i.name for i in run(address, namespace, lambda client: imported(client, data))] == ["x.test/one:1"]


def test_a_docker_archive_gets_full_names_and_layers_that_unpack(address: str, namespace: str) -> None:
    async def work(client: Client) -> None:
        image = images.image([images.layer([Node("a", b"1")])], docker=True)
        (found,) = await imported(client, images.docker_archive({"short:1": image}))
        assert found.name == "docker.io/library/short:1"
        await unpack(client, found)

    run(address, namespace, work)


def test_an_index_keeps_its_platforms(address: str, namespace: str) -> None:
    async def work(client: Client) -> None:
        (found,) = await imported(client, images.oci_archive({"x.test/multi:1": images.multi_platform()}))
        assert sorted(await platforms(client, found.target)) == ["linux/amd64", "linux/arm/v7", "linux/arm64"]
        resolved = await resolve(client, found, parse("linux/arm/v7"))
        assert len(resolved.manifest.layers) == 2

    run(address, namespace, work)


def test_an_archive_that_names_nothing_is_refused_with_what_to_do(address: str, namespace: str) -> None:
    with pytest.raises(InvalidArgument, match="names no images") as caught:
        run(address, namespace, lambda client: imported(client, images.oci_archive({"": small()})))
    assert "--base-name" in caught.value.hint


def test_a_blob_that_is_not_what_its_name_says_is_refused(address: str, namespace: str) -> None:
    image = small()
    digest = image.layers[0].blob.digest
    wrong = images.Image(image.target, {**image.blobs, digest: b"other bytes"})

    async def work(client: Client) -> None:
        with pytest.raises(ContainerdError) as caught:
            await imported(client, images.oci_archive({"x.test/one:1": wrong}))
        assert digest in caught.value.message
        await nothing(client)

    run(address, namespace, work)


def test_a_blob_that_is_missing_is_named(address: str, namespace: str) -> None:
    image = small()
    digest = image.layers[0].blob.digest

    async def work(client: Client) -> None:
        with pytest.raises(ContainerdError) as caught:
            await imported(client, images.oci_archive({"x.test/one:1": image}, leave_out=[digest]))
        assert digest in caught.value.message
        await nothing(client)

    run(address, namespace, work)


@pytest.mark.parametrize("cut", [0, 600, 2000])
def test_a_truncated_archive_is_refused(address: str, namespace: str, cut: int) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(InvalidArgument):
            await imported(client, images.oci_archive({"x.test/one:1": small()})[:cut])
        await nothing(client)

    run(address, namespace, work)


def test_names_that_lead_out_of_the_archive_are_no_paths(address: str, namespace: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("../../evil.json", "/evil.json", "blobs/sha256/../../../evil"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))

    async def work(client: Client) -> None:
        with pytest.raises(InvalidArgument):
            await imported(client, buffer.getvalue())
        await nothing(client)

    run(address, namespace, work)
    assert not os.path.exists("/evil.json")


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": b"{}"},
        {"manifest.json": b'[{"Config":"c.json","Layers":["no.tar"],"RepoTags":["a:1"]}]'},
        {"index.json": b"[]"},
        {"index.json": b'{"schemaVersion":2,"manifests":[{"mediaType":1}]}'},
        {"index.json": b"[" * 100_000},
        {"index.json": json.dumps({"manifests": [{"digest": "../../x", "size": 1}]}).encode()},
    ],
    ids=["no list", "missing parts", "no object", "bad descriptor", "deep", "bad digest"],
)
def test_a_description_that_makes_no_sense_is_refused(address: str, namespace: str, files: dict[str, bytes]) -> None:
    data = images.tar_of([Node(name, text) for name, text in files.items()])

    async def work(client: Client) -> None:
        with pytest.raises(InvalidArgument):
            await imported(client, data)
        await nothing(client)

    run(address, namespace, work)
