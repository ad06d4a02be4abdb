"""A daemon whose database is damaged or gone starts, says what was lost, and works with what can be brought back."""

from __future__ import annotations

import glob
import json
import os
import random
import shutil
from pathlib import Path

import pytest

from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root

METADATA = "io.containerd.metadata.v1.bolt"


def database(daemon: Daemon) -> str:
    return f"{daemon.root}/{METADATA}/metadata.db"


def report(daemon: Daemon) -> str:
    (path,) = glob.glob(f"{database(daemon)}.*.report")
    return "\n".join(json.loads(Path(path).read_text())["report"])


def runs(ctr: Ctr) -> bool:
    return ctr("run", "--rm", IMAGE, f"c-{random.getrandbits(32):x}", "/bin/sh", "-c", "echo ran") == "ran\n"


def test_without_any_copy_content_has_its_records_again_and_is_held(our_containerd: Daemon, image_archive: str) -> None:
    daemon = our_containerd
    ctr = Ctr(OURS, daemon.address, "default")
    ctr("images", "import", image_archive)
    assert runs(ctr)
    blobs = len(ctr("content", "ls", "-q").split())
    daemon.stop()
    for path in glob.glob(f"{database(daemon)}*"):
        if not path.endswith(".lock"):
            os.unlink(path)
    Path(database(daemon)).write_bytes(b"what is this")
    bad = min(glob.glob(f"{daemon.root}/io.containerd.content.v1.content/blobs/sha256/*"))
    shutil.copyfile(bad, os.path.join(os.path.dirname(bad), "0" * 64))
    daemon.start()
    told = report(daemon)
    assert f"{blobs} blobs without a record have one again" in told
    assert f"1 blobs on disk do not have the digest they are named by and get no record: sha256:{'0' * 64}" in told
    assert "was damaged" in daemon.log() or "is damaged" in daemon.log()
    assert len(ctr("content", "ls", "-q").split()) == blobs
    ctr("images", "import", image_archive)
    assert runs(ctr)
    assert len(ctr("leases", "ls", "-q").split()) == 1
    daemon.restart()
    assert runs(ctr)
    assert len(glob.glob(f"{database(daemon)}.*.report")) == 1


def test_with_a_copy_containers_come_back_too_and_what_is_not_there_is_taken_out(
    our_containerd: Daemon, image_archive: str
) -> None:
    daemon = our_containerd
    ctr = Ctr(OURS, daemon.address, "n")
    ctr("images", "import", image_archive)
    ctr("containers", "create", IMAGE, "old")
    ctr("snapshots", "prepare", "short-lived")
    daemon.restart()  # an orderly end leaves a copy
    ctr("snapshots", "rm", "short-lived")
    ctr("containers", "create", IMAGE, "new")
    daemon.kill()
    Path(database(daemon)).write_bytes(random.Random(5).randbytes(100_000))
    daemon.start()
    told = report(daemon)
    assert "was restored" in told
    assert "records of what is not on disk were removed" in told
    assert "trees of snapshotters" in told
    assert ctr("containers", "ls", "-q").split() == ["old"]
    assert "short-lived" not in ctr("snapshots", "ls")
    assert runs(ctr)
    ctr("containers", "rm", "old")


@pytest.mark.parametrize("seed", range(2))
def test_random_damage_never_keeps_it_from_starting(our_containerd: Daemon, image_archive: str, seed: int) -> None:
    daemon, source = our_containerd, random.Random(seed)
    ctr = Ctr(OURS, daemon.address, "n")
    ctr("images", "import", image_archive)
    for _ in range(2):
        daemon.kill() if source.random() < 0.5 else daemon.stop()
        for suffix in ("", "-wal"):
            path = database(daemon) + suffix
            if os.path.exists(path) and os.path.getsize(path):
                with open(path, "r+b") as file:
                    for _ in range(source.choice((1, 10, 200))):
                        file.seek(source.randrange(os.path.getsize(path)))
                        file.write(source.randbytes(1))
        daemon.start()
        assert ctr("images", "ls", "-q").strip() in ("", IMAGE)
        assert "blocked" not in ctr("plugins", "ls")
