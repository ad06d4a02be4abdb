"""``containerd fsck`` on what a real daemon leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root

CONTENT = "io.containerd.content.v1.content"


@pytest.fixture
def daemon(our_containerd: Daemon, image_archive: str) -> Iterator[Daemon]:
    ctr = Ctr(OURS, our_containerd.address)
    ctr("images", "import", image_archive)
    assert ctr("run", "--rm", IMAGE, "c1", "/bin/sh", "-c", "echo ran") == "ran\n"
    ctr("containers", "create", IMAGE, "kept")
    yield our_containerd


def fsck(daemon: Daemon, *options: str) -> tuple[int, dict[str, object], str]:
    command = [sys.executable, "-m", "pycontainerd.server.main", "-c", f"{daemon.directory}/config.toml", "fsck"]
    done = subprocess.run([*command, "--json", *options], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def kinds(outcome: dict[str, object], which: str) -> list[str]:
    findings = outcome[which]
    assert isinstance(findings, list)
    return sorted(finding["kind"] for finding in findings)


def test_a_stopped_daemon_has_nothing_wrong_and_a_running_one_is_left_alone(daemon: Daemon) -> None:
    status, _, said = fsck(daemon)
    assert (status, "stop it first" in said) == (2, True)
    daemon.stop()
    assert fsck(daemon, "--digests") == (0, {"found": [], "repaired": 0, "left": []}, "")


def test_what_is_broken_is_found_repaired_and_the_daemon_works_on(daemon: Daemon, image_archive: str) -> None:
    daemon.kill()
    trees = f"{daemon.root}/io.containerd.snapshotter.v1.overlayfs/snapshots"
    os.makedirs(f"{trees}/999/fs")
    for name in os.listdir(trees):
        if name != "999":
            shutil.rmtree(f"{trees}/{name}")
    blobs = f"{daemon.root}/{CONTENT}/blobs/sha256"
    largest = max((os.path.getsize(f"{blobs}/{name}"), name) for name in os.listdir(blobs))[1]
    os.truncate(f"{blobs}/{largest}", 100)
    status, outcome, _ = fsck(daemon)
    assert status == 1
    assert {"tree-orphan", "snapshot-without-files", "content-size"} <= set(kinds(outcome, "found"))
    status, outcome, _ = fsck(daemon, "--repair")
    assert (status, kinds(outcome, "left")) == (1, ["container-without-snapshot"])
    daemon.start()
    ctr = Ctr(OURS, daemon.address)
    namespace = ctr("namespaces", "ls", "-q").split()[0]
    ctr = Ctr(OURS, daemon.address, namespace)
    ctr("containers", "rm", "kept")
    ctr("images", "import", image_archive)
    assert ctr("run", "--rm", IMAGE, "c2", "/bin/sh", "-c", "echo again") == "again\n"
    daemon.stop()
    assert fsck(daemon)[0] == 0


def test_it_says_how_it_is_used(daemon: Daemon) -> None:
    status, _, said = fsck(daemon, "--nonsense")
    assert status == 2
    assert "usage: containerd fsck" in said
