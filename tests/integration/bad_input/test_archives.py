"""Images that are broken or hostile: each import is refused with the reason, and nothing of it is left."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
import uuid
from collections.abc import AsyncIterator

import pytest

from pycontainerd.client import Client
from pycontainerd.client.transfer import ImageOptions
from pycontainerd.contracts import media_types
from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.images import Blob, Image, Layer, image, layer, layer_of_tar, oci_archive
from pycontainerd.testing.rootfs import Node

from .conftest import leaves_nothing

pytestmark = pytest.mark.root
NAME = "local.test/bad:1"
CHUNK = 1 << 18


async def _import(daemon: Daemon, archive: bytes) -> str:
    """What the import says, after checking that it left nothing."""

    async def source() -> AsyncIterator[bytes]:
        for at in range(0, len(archive), CHUNK):
            yield archive[at : at + CHUNK]

    async with Client(daemon.address, namespace=f"n{uuid.uuid4().hex[:8]}") as client:
        said = ""
        async with leaves_nothing(daemon, client):
            try:
                await client.transfer.import_archive(
                    source(), ImageOptions(unpack=("overlayfs",)), base_name="bad", overwrite=True
                )
            except ContainerdError as exc:
                said = f"{exc.code}: {exc}"
                raise
    assert "names no image" not in said  # it is about what is wrong with it, not about how this test asks
    return said


def _of(*layers: Layer) -> bytes:
    return oci_archive({NAME: image(layers)})


def _raw(*entries: tuple[str, bytes, str]) -> Layer:
    """A layer of entries as tarfile would never make them: name, type, link target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, link, 0o644
            info.size = 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"evil"))
    return layer_of_tar(buffer.getvalue())


def _with_layer(data: bytes, media_type: str = media_types.OCI_LAYER_GZIP) -> bytes:
    good = layer([Node("file", b"text")])
    return _of(Layer(Blob(media_type, data), good.diff_id, good.tar))


def test_a_corrupt_gzip_layer_is_refused(our_containerd_module: Daemon) -> None:
    data = bytearray(layer([Node("file", os.urandom(100_000))]).blob.data)
    data[5000:5100] = bytes(100)
    said = asyncio.run(_import(our_containerd_module, _with_layer(bytes(data))))
    assert said.startswith(("DATA_LOSS", "INVALID_ARGUMENT")), said


def test_a_layer_that_ends_early_is_refused(our_containerd_module: Daemon) -> None:
    data = layer([Node("file", os.urandom(100_000))]).blob.data
    said = asyncio.run(_import(our_containerd_module, _with_layer(data[: len(data) // 2])))
    assert said.startswith(("DATA_LOSS", "INVALID_ARGUMENT")), said


def test_a_layer_other_than_its_diff_id_is_refused(our_containerd_module: Daemon) -> None:
    said = asyncio.run(_import(our_containerd_module, _with_layer(layer([Node("other", b"x")]).blob.data)))
    assert "sha256:" in said


def test_a_blob_other_than_its_digest_is_refused(our_containerd_module: Daemon) -> None:
    good = image([layer([Node("file", b"text")])])
    assert good.config is not None
    lying = Image(good.target, {**good.blobs, good.config.digest: b"{}"}, good.platform, good.layers, good.config)
    said = asyncio.run(_import(our_containerd_module, oci_archive({NAME: lying})))
    assert good.config.digest.removeprefix("sha256:") in said


def test_a_truncated_archive_is_refused(our_containerd_module: Daemon) -> None:
    archive = _of(layer([Node("file", os.urandom(200_000))]))
    said = asyncio.run(_import(our_containerd_module, archive[: len(archive) // 2]))
    assert said


def test_an_archive_that_is_none_is_refused(our_containerd_module: Daemon) -> None:
    assert asyncio.run(_import(our_containerd_module, b"this is no archive" * 100))
    assert asyncio.run(_import(our_containerd_module, b""))


def test_an_archive_that_lacks_a_blob_is_refused(our_containerd_module: Daemon) -> None:
    good = image([layer([Node("file", b"text")])])
    digest = good.layers[0].blob.digest
    assert digest in asyncio.run(_import(our_containerd_module, oci_archive({NAME: good}, leave_out=[digest])))


def test_a_manifest_of_100_mb_is_refused(our_containerd_module: Daemon) -> None:
    good = image([layer([Node("file", b"text")])])
    manifest = json.loads(good.target.data)
    manifest["annotations"] = {"padding": "x" * (100 << 20)}
    huge = Blob(good.target.media_type, json.dumps(manifest).encode())
    blobs = {**{key: value for key, value in good.blobs.items() if key != good.target.digest}, huge.digest: huge.data}
    archive = oci_archive({NAME: Image(huge, blobs, good.platform, good.layers, good.config)})
    assert "limit" in asyncio.run(_import(our_containerd_module, archive))


def test_a_layer_of_unknown_media_type_is_refused_by_name(our_containerd_module: Daemon) -> None:
    data = layer([Node("file", b"text")]).blob.data
    said = asyncio.run(_import(our_containerd_module, _with_layer(data, "application/vnd.example.unknown")))
    assert "application/vnd.example.unknown" in said


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([("../escape", tarfile.REGTYPE, "")], id="dot dot"),
        pytest.param([("a/../../../escape", tarfile.REGTYPE, "")], id="dot dot inside"),
        pytest.param([("/tmp/escape", tarfile.REGTYPE, "")], id="absolute"),
        pytest.param(
            [("out", tarfile.SYMTYPE, "/tmp"), ("out/escape", tarfile.REGTYPE, "")], id="through an absolute symlink"
        ),
        pytest.param(
            [("out", tarfile.SYMTYPE, "../../../../../tmp"), ("out/escape", tarfile.REGTYPE, "")],
            id="through a relative symlink",
        ),
        pytest.param([("link", tarfile.LNKTYPE, "../../../../../../etc/hostname")], id="hard link outside"),
        pytest.param([("link", tarfile.LNKTYPE, "/etc/hostname")], id="absolute hard link"),
        pytest.param([(".wh...", tarfile.REGTYPE, "")], id="whiteout of the parent"),
        pytest.param([(".wh..", tarfile.REGTYPE, "")], id="whiteout of the directory itself"),
        pytest.param([(".wh.missing", tarfile.REGTYPE, "")], id="whiteout of a missing file"),
        pytest.param([("missing/.wh..wh..opq", tarfile.REGTYPE, "")], id="opaque missing directory"),
    ],
)
def test_no_entry_of_a_layer_leaves_the_snapshot(
    our_containerd_module: Daemon, entries: list[tuple[str, bytes, str]]
) -> None:
    """Accepted or refused, whichever the Go containerd does: but the machine stays as it was."""
    outside = {path: _facts(path) for path in ("/tmp/escape", "/etc/hostname", "/escape")}

    async def attempt() -> None:
        namespace = f"n{uuid.uuid4().hex[:8]}"
        async with Client(our_containerd_module.address, namespace=namespace) as client:
            archive = _of(_raw(*entries))

            async def source() -> AsyncIterator[bytes]:
                yield archive

            try:
                await client.transfer.import_archive(
                    source(), ImageOptions(unpack=("overlayfs",)), base_name="bad", overwrite=True
                )
            except ContainerdError:
                assert not await client.images.list()
                assert not [info async for info in client.snapshots("overlayfs").walk()]
            assert not await client.content.statuses()

    asyncio.run(attempt())
    assert {path: _facts(path) for path in outside} == outside
    assert not our_containerd_module.leftovers()


def _facts(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_nlink, status.st_mtime_ns


def test_device_nodes_are_made_as_the_layer_says(our_containerd_module: Daemon) -> None:
    async def run() -> None:
        async with Client(our_containerd_module.address, namespace=f"n{uuid.uuid4().hex[:8]}") as client:
            archive = _of(layer([Node("null", kind="char", device=(1, 3), mode=0o666)]))

            async def source() -> AsyncIterator[bytes]:
                yield archive

            await client.transfer.import_archive(
                source(), ImageOptions(unpack=("overlayfs",)), base_name="bad", overwrite=True
            )
            infos = [info async for info in client.snapshots("overlayfs").walk()]
            (mount,) = await client.snapshots("overlayfs").view("look", infos[0].name)
            status = os.lstat(f"{mount.source}/null")
            assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (1, 3)
            await client.snapshots("overlayfs").remove("look")

    asyncio.run(run())
