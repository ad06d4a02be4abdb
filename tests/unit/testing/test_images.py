"""Images made for tests: the same input gives the same bytes, and archives are what readers expect."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile

import pytest

from pycontainerd.contracts import digests
from pycontainerd.testing import images
from pycontainerd.testing.rootfs import Node, host_rootfs, symlink, with_parents


def files(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}  # type: ignore[union-attr]


def test_the_same_image_is_the_same_bytes() -> None:
    nodes = [Node("a", b"1"), symlink("b", "a")]
    first, second = (images.oci_archive({"x/y:1": images.image([images.layer(nodes)])}) for _ in range(2))
    assert first == second


def test_every_blob_of_an_archive_is_what_its_name_says() -> None:
    found = files(images.oci_archive({"x/y:1": images.multi_platform()}))
    blobs = {name: data for name, data in found.items() if name.startswith("blobs/")}
    assert len(blobs) == 11  # index, three manifests, three configs, one layer shared, three of their own
    assert all(digests.of(data) == f"sha256:{name.rpartition('/')[2]}" for name, data in blobs.items())
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": "x/y:1", "org.opencontainers.image.ref.name": "1"}


def test_a_blob_can_be_left_out() -> None:
    image = images.image([images.layer([Node("a")])])
    missing = image.layers[0].blob.digest
    names = files(images.oci_archive({"x": image}, leave_out=[missing]))
    assert f"blobs/sha256/{missing.removeprefix('sha256:')}" not in names


def test_a_docker_archive_names_its_parts() -> None:
    image = images.image([images.layer([Node("a", b"1")])], docker=True)
    found = files(images.docker_archive({"x:1": image}))
    (entry,) = json.loads(found["manifest.json"])
    assert entry["RepoTags"] == ["x:1"]
    assert json.loads(found[entry["Config"]])["rootfs"]["diff_ids"] == [digests.of(found[entry["Layers"][0]])]


@pytest.mark.parametrize("busybox", [None, ""], ids=["busybox", "shell"])
def test_the_root_file_system_of_the_host_has_a_shell(busybox: str | None) -> None:
    nodes = {node.path: node for node in host_rootfs(busybox)}
    assert {"bin/sh", "etc/passwd", "etc/group", "tmp", "bin/sleep", "bin/id"} <= nodes.keys()
    assert nodes["tmp"].mode == 0o1777


def test_missing_parents_are_added_in_order() -> None:
    assert [node.path for node in with_parents([Node("a/b/c")])] == ["a", "a/b", "a/b/c"]


def test_the_command_writes_an_archive(tmp_path: object) -> None:
    path = f"{tmp_path}/out.tar"
    command = [sys.executable, "-m", "pycontainerd.testing.images", "--from-host", "--name", "x/y:1", path]
    subprocess.run(command, check=True, timeout=60)
    with open(path, "rb") as file:
        assert "index.json" in files(file.read())


def test_importing_the_pytest_plugin_loads_nothing_heavy() -> None:
    code = "import sys, pycontainerd.testing.plugin; print([m for m in ('grpc', 'zstandard', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
