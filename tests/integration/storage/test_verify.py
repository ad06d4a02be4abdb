"""``ctr images verify``: files that a power cut has emptied are found and made again, here and under the Go containerd."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path

import pytest

from pycontainerd.testing import images, needs
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.rootfs import Node

pytestmark = pytest.mark.root

NAME = "local.test/layers:1"
CONTENT = "io.containerd.content.v1.content/blobs/sha256"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of three layers, each with a file, the last with a whiteout."""
    layers = [
        images.layer([Node("one", b"1" * 5000), Node("gone", b"x")]),
        images.layer([Node("two", b"2" * 5000, 0o600), Node("link", link="one", kind="symlink")]),
        images.layer([Node("three", b"3" * 5000, 0o755), Node(".wh.gone")]),
    ]
    path = tmp_path_factory.mktemp("layers") / "layers.tar"
    path.write_bytes(images.oci_archive({NAME: images.image(layers)}))
    return str(path)


def unpacked(daemon: Daemon, archive: str) -> Daemon:
    """``daemon`` with the image unpacked; each test leaves it sound."""
    ctr = Ctr(OURS, daemon.address, "ns")
    ctr("images", "import", archive)
    ctr("images", "unpack", NAME)
    return daemon


@pytest.fixture(scope="module", params=["our_containerd_module", "debian_containerd_module"])
def daemon(request: pytest.FixtureRequest, archive: str) -> Daemon:
    needs.root()
    return unpacked(request.getfixturevalue(request.param), archive)


@pytest.fixture(scope="module")
def ours(our_containerd_module: Daemon, archive: str) -> Daemon:
    return unpacked(our_containerd_module, archive)


def verify(daemon: Daemon, *options: str) -> tuple[int, dict[str, object]]:
    status, out, error = Ctr(OURS, daemon.address, "ns").status("images", "verify", "-o", "json", *options)
    assert out, error
    (record,) = json.loads(out)
    return status, record


def file_of_layer(daemon: Daemon, name: str) -> str:
    """The one there is: a removed lease that is waited for makes the Go containerd delete what was removed."""
    ctr = Ctr(OURS, daemon.address, "ns")
    ctr("leases", "rm", "--sync", ctr("leases", "create").strip())
    (path,) = glob.glob(f"{daemon.root}/io.containerd.snapshotter.v1.overlayfs/snapshots/[0-9]*/fs/{name}")
    return path


def test_an_image_that_is_whole_is_sound_and_nothing_is_left_of_looking(daemon: Daemon) -> None:
    before = Ctr(OURS, daemon.address, "ns")("snapshots", "ls")
    status, record = verify(daemon)
    assert (status, record["layers"], record["faults"]) == (0, 3, [])
    assert record["blobs"] == 5 or record["blobs"] == 6
    assert Ctr(OURS, daemon.address, "ns")("snapshots", "ls") == before


def test_a_file_that_was_emptied_is_found_and_made_again(daemon: Daemon) -> None:
    os.truncate(file_of_layer(daemon, "one"), 0)
    status, record = verify(daemon)
    (fault,) = record["faults"]  # type: ignore[misc]
    assert status == 1
    assert fault["reason"] == "/one has 0 bytes instead of 5000"
    status, record = verify(daemon, "--repair", NAME)
    assert (status, record["faults"]) == (0, [])
    assert os.path.getsize(file_of_layer(daemon, "one")) == 5000
    assert verify(daemon)[0] == 0


def test_every_other_kind_of_damage_is_named(ours: Daemon) -> None:
    base = os.path.dirname(file_of_layer(ours, "two"))
    Path(base, "two").write_bytes(b"2" * 4999 + b"x")
    Path(base, "stray").write_text("x")
    os.unlink(f"{base}/link")
    os.unlink(f"{os.path.dirname(file_of_layer(ours, 'three'))}/gone")
    _, record = verify(ours)
    said = "; ".join(fault["reason"] for fault in record["faults"])  # type: ignore[attr-defined]
    for sentence in ("/two has other data", "/stray does not belong there", "/link is missing", "/gone is missing"):
        assert sentence in said
    assert verify(ours, "--repair")[0] == 0


def test_a_layer_in_use_is_not_taken_away(ours: Daemon) -> None:
    ctr = Ctr(OURS, ours.address, "ns")
    os.truncate(file_of_layer(ours, "one"), 10)
    top = ctr("images", "unpack", NAME).strip()
    ctr("snapshots", "prepare", "busy", top)
    status, record = verify(ours, "--repair")
    assert status == 1
    assert "in use by busy" in record["faults"][0]["reason"]  # type: ignore[index]
    assert ctr("images", "unpack", NAME).strip() == top
    ctr("snapshots", "rm", "busy")
    assert verify(ours, "--repair")[0] == 0


def test_damaged_content_is_taken_away_and_comes_again(daemon: Daemon, archive: str) -> None:
    layer = max(glob.glob(f"{daemon.root}/{CONTENT}/*"), key=os.path.getsize)
    os.chmod(layer, 0o644)
    with open(layer, "r+b") as file:
        file.write(b"\0\0\0\0")
    status, record = verify(daemon)
    assert status == 1
    assert "content" in {fault["kind"] for fault in record["faults"]}  # type: ignore[attr-defined]
    verify(daemon, "--repair")
    assert not os.path.exists(layer)
    Ctr(OURS, daemon.address, "ns")("images", "import", archive)
    assert verify(daemon, "--repair")[0] == 0
