"""A whole daemon on other snapshotters than the default: an image is unpacked, a container runs, and nothing is left."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.types import Mount
from pycontainerd.sys.mount import mounted
from pycontainerd.testing import needs, zfs
from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.filesystems import loop, run
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def btrfs() -> Iterator[str]:
    with loop("btrfs") as path:
        yield path


@pytest.fixture(scope="module")
def daemon(btrfs: str) -> Iterator[Daemon]:
    needs.command("runc")
    config = f'[plugins."io.containerd.snapshotter.v1.btrfs"]\nroot_path = "{btrfs}/snapshots"\n'
    with Daemon.ours(config=config) as daemon:
        yield daemon


def mount_of(command: str) -> tuple[str, str, tuple[str, ...]]:
    """Type, source and options in ``mount -t TYPE SOURCE TARGET -o OPTIONS``."""
    _, _, kind, source, _, _, options = command.split()
    return kind, source, tuple(options.split(","))


def test_a_container_runs_on_btrfs_and_what_it_changed_is_a_layer_and_can_be_saved(
    daemon: Daemon, btrfs: str, image_archive: str, tmp_path: Path
) -> None:
    ctr = Ctr(OURS, daemon.address)
    ctr("images", "import", "--snapshotter", "btrfs", image_archive)
    name = f"c-{uuid.uuid4().hex[:8]}"
    script = "echo changed > /file; cat /file"
    assert ctr("run", "--snapshotter", "btrfs", IMAGE, name, "/bin/sh", "-c", script) == "changed\n"
    assert len(os.listdir(f"{btrfs}/snapshots/active")) == 1
    layer = ctr("snapshots", "--snapshotter", "btrfs", "diff", "--keep", name).strip()
    assert layer.startswith("sha256:")
    usage = json.loads(ctr("snapshots", "--snapshotter", "btrfs", "usage", "-o", "json", name))
    assert usage[0]["inodes"] >= 1
    archive = str(tmp_path / "saved")
    ctr("snapshots", "--snapshotter", "btrfs", "export", archive, name)
    ctr("snapshots", "import", archive, "restored")
    kind, source, options = mount_of(ctr("snapshots", "prepare", "-t", "/mnt", "look", "restored"))
    with mounted([Mount(kind, source, options=options)]) as root:
        assert Path(root, "file").read_text() == "changed\n"
    ctr("containers", "rm", name)
    eventually(lambda: os.listdir(f"{btrfs}/snapshots/active") == [], "the container's subvolume is gone", 10)


def test_snapshots_are_made_and_removed_on_zfs() -> None:
    with zfs.pool() as pool:
        config = f'[plugins."io.containerd.snapshotter.v1.zfs"]\nroot_path = "{pool.root}"\n'
        with Daemon.ours(config=config) as daemon:
            ctr = Ctr(OURS, daemon.address)
            ctr("snapshots", "--snapshotter", "zfs", "prepare", "a")
            ctr("snapshots", "--snapshotter", "zfs", "commit", "c", "a")
            said = ctr("snapshots", "--snapshotter", "zfs", "prepare", "-t", "/mnt", "b", "c")
            assert said == f"mount -t zfs {pool.dataset}/2 /mnt\n"
            for key in ("b", "c"):
                ctr("snapshots", "--snapshotter", "zfs", "rm", key)
            eventually(
                lambda: run("zfs", "list", "-H", "-r", "-o", "name", pool.dataset) == f"{pool.dataset}\n",
                "the datasets are gone",
                10,
            )


@pytest.mark.parametrize(("name", "reason"), [("btrfs", "need a btrfs"), ("zfs", "zfs create -o mountpoint")])
def test_a_snapshotter_that_cannot_work_says_why(our_containerd_module: Daemon, name: str, reason: str) -> None:
    ctr = Ctr(OURS, our_containerd_module.address)
    said = ctr("plugins", "why", f"io.containerd.snapshotter.v1.{name}", check=False)
    assert "skipped" in said
    assert reason in said


def test_the_overlay_snapshotter_says_what_it_can(our_containerd_module: Daemon) -> None:
    ctr = Ctr(OURS, our_containerd_module.address)
    listed = json.loads(ctr("plugins", "ls", "-d", "-o", "json", "id==overlayfs"))
    assert set(listed[0]["capabilities"]) == {"remap-ids", "only-remap-ids", "rebase"}


def test_slow_chown_lets_clients_change_owners_themselves() -> None:
    config = '[plugins."io.containerd.snapshotter.v1.overlayfs"]\nslow_chown = true\nmount_options = ["metacopy=on"]\n'
    with Daemon.ours(config=config) as daemon:
        ctr = Ctr(OURS, daemon.address)
        listed = json.loads(ctr("plugins", "ls", "-d", "-o", "json", "id==overlayfs"))
        assert set(listed[0]["capabilities"]) == {"remap-ids", "rebase"}
        ctr("snapshots", "prepare", "a")
        ctr("snapshots", "commit", "c", "a")
        said = ctr("snapshots", "prepare", "-t", "/mnt", "d", "c")
        assert {"index=off", "metacopy=on"} <= set(said.rstrip().split(","))
