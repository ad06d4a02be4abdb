"""``ctr snapshots export`` and ``import``: a snapshot of one snapshotter, in a file, and on another one as it was."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lz4.frame
import pytest

from pycontainerd.contracts.types import Mount
from pycontainerd.sys.mount import mounted
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.trees import describe

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def ctr(our_containerd_module: Any) -> Ctr:
    return Ctr(OURS, our_containerd_module.address)


@contextmanager
def shown(ctr: Ctr, snapshotter: str, key: str, parent: str = "", verb: str = "view") -> Iterator[str]:
    """The files of a new snapshot on ``parent``."""
    said = ctr("snapshots", "--snapshotter", snapshotter, verb, "--mounts", key, *filter(None, (parent,)))
    with mounted([_mount(one) for one in json.loads(said)]) as root:
        yield root


def _mount(found: dict[str, Any]) -> Mount:
    lowered = {key.lower(): value for key, value in found.items()}
    return Mount(lowered["type"], lowered["source"], lowered.get("target") or "", tuple(lowered["options"] or ()))


def layered(ctr: Ctr, snapshotter: str, name: str) -> dict[str, Any]:
    """A committed snapshot of two layers called ``name``; what is in it."""
    with shown(ctr, snapshotter, f"{name}-a1", verb="prepare") as root:
        os.makedirs(f"{root}/d/gone")
        with open(f"{root}/f", "w") as file:
            file.write("text")
        os.link(f"{root}/f", f"{root}/d/hard")
        os.mknod(f"{root}/null", 0o20666, os.makedev(1, 3))
        with open(f"{root}/sparse", "wb") as file:
            file.truncate(30 << 20)
    ctr("snapshots", "--snapshotter", snapshotter, "commit", f"{name}-c1", f"{name}-a1")
    with shown(ctr, snapshotter, f"{name}-a2", f"{name}-c1", verb="prepare") as root:
        os.rmdir(f"{root}/d/gone")
        os.setxattr(f"{root}/d", "trusted.t", b"\x00\xff")
        os.chown(f"{root}/d", 1000, 1001)
        with open(f"{root}/.wh.odd", "w") as file:
            file.write("a name like another")
        os.chmod(root, 0o711)
        os.utime(root, ns=(10**18, 10**18 + 1))
        found = describe(root)
    ctr("snapshots", "--snapshotter", snapshotter, "commit", name, f"{name}-a2")
    return found


@pytest.mark.parametrize(("source", "target"), [("overlayfs", "native"), ("native", "overlayfs")])
def test_a_committed_snapshot_is_restored_on_another_snapshotter(
    ctr: Ctr, source: str, target: str, tmp_path: Any
) -> None:
    name, path = uuid.uuid4().hex[:8], str(tmp_path / "saved.tar.lz4")
    wanted = layered(ctr, source, name)
    before = ctr("content", "ls", "-q"), ctr("snapshots", "--snapshotter", source, "ls")
    ctr("snapshots", "--snapshotter", source, "export", path, name)
    assert os.stat(path).st_size < 100_000
    assert os.stat(path).st_mode & 0o077 == 0
    ctr("snapshots", "--snapshotter", target, "import", "--label", "kept=yes", path, f"{name}-restored")
    assert (ctr("content", "ls", "-q"), ctr("snapshots", "--snapshotter", source, "ls")) == before
    assert ctr("leases", "ls", "-q") == ""
    with shown(ctr, target, f"{name}-view", f"{name}-restored") as root:
        assert describe(root) == wanted
    said = json.loads(ctr("snapshots", "--snapshotter", target, "info", f"{name}-restored"))
    assert said["kind"].lower() == "committed"
    assert said["labels"]["kept"] == "yes"


def test_an_active_snapshot_goes_through_a_pipe_and_comes_back_writable(ctr: Ctr) -> None:
    name = uuid.uuid4().hex[:8]
    layered(ctr, "overlayfs", name)
    with shown(ctr, "overlayfs", f"{name}-w", name, verb="prepare") as root:
        with open(f"{root}/more", "w") as file:
            file.write("more")
        wanted = describe(root)
    command = ctr.argv("snapshots")
    archive = subprocess.run([*command, "export", "-", f"{name}-w"], capture_output=True, timeout=60, check=True).stdout
    subprocess.run([*command, "import", "--active", "-", f"{name}-x"], input=archive, timeout=60, check=True)
    said = json.loads(ctr("snapshots", "info", f"{name}-x"))
    assert said["kind"].lower() == "active"
    point = _point(ctr, f"{name}-x")
    with mounted([point]) as root:
        assert describe(root) == wanted
        os.mkdir(f"{root}/writable")


def _point(ctr: Ctr, key: str) -> Mount:
    _, _, kind, source, _, _, options = ctr("snapshots", "mounts", "/mnt", key).split()
    return Mount(kind, source, options=tuple(options.split(",")))


def test_a_damaged_archive_leaves_nothing_behind(ctr: Ctr, tmp_path: Any) -> None:
    path = tmp_path / "bad"
    name = uuid.uuid4().hex[:8]
    path.write_bytes(lz4.frame.compress(b"no tar" * 10_000)[:-5])
    before = ctr("content", "ls", "-q"), ctr("snapshots", "ls"), ctr("leases", "ls", "-q")
    said = ctr("snapshots", "import", str(path), name, check=False)
    assert "lz4" in said or "tar" in said
    assert (ctr("content", "ls", "-q"), ctr("snapshots", "ls"), ctr("leases", "ls", "-q")) == before


def test_a_name_that_is_taken_and_a_snapshot_that_is_not_there_are_named(ctr: Ctr, tmp_path: Any) -> None:
    name, path = uuid.uuid4().hex[:8], tmp_path / "file"
    path.write_text("as it was")
    assert f"{name}" in ctr("snapshots", "export", str(path), name, check=False)
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["file"]
    ctr("snapshots", "prepare", name)
    assert "already exists" in ctr("snapshots", "import", str(path), name, check=False)


@pytest.mark.interop
def test_the_go_containerd_cannot_and_that_is_said(debian_containerd: Any, tmp_path: Any) -> None:
    theirs = Ctr(OURS, debian_containerd.address)
    theirs("snapshots", "--snapshotter", "native", "prepare", "a")
    said = theirs("snapshots", "--snapshotter", "native", "export", str(tmp_path / "x"), "a", check=False)
    assert "only a pycontainerd saves snapshots" in said
    assert os.listdir(tmp_path) == []
