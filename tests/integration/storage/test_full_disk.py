"""A daemon whose root directory is on a disk with no space left: it starts, and removals make room again."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

import pytest

from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.filesystems import loop
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root

METADATA = "io.containerd.metadata.v1.bolt"
BALLAST = f'[plugins."{METADATA}"]\nballast = {4 << 20}\ncopy_interval = 0\n'


@pytest.fixture
def disk() -> Iterator[str]:
    with loop("ext4", 96, maker=("-q", "-m", "0")) as point:
        yield point


@pytest.fixture
def daemon(disk: str) -> Iterator[Daemon]:
    """Not started yet; only its root is on the disk that gets full."""
    with tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as directory:
        os.mkdir(f"{disk}/root")
        os.symlink(f"{disk}/root", f"{directory}/root")
        daemon = Daemon.ours(config=BALLAST, directory=directory)
        try:
            yield daemon
        finally:
            daemon.close()


def fill(disk: str) -> str:
    """Take every block, to the last one; gives the file that has them."""
    path = f"{disk}/filler"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1 << 20, 4096):
        with contextlib.suppress(OSError):
            while True:
                os.write(fd, b"\xff" * size)
                os.fsync(fd)
    os.close(fd)
    assert os.statvfs(disk).f_bavail < 16
    return path


def ballast(daemon: Daemon) -> str:
    return f"{daemon.root}/{METADATA}/metadata.db.ballast"


def held(daemon: Daemon) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(ballast(daemon)).st_size == 4 << 20
    return False


def test_removals_work_on_a_full_disk_and_everything_else_says_what_to_do(
    daemon: Daemon, disk: str, image_archive: str
) -> None:
    daemon.start()
    ctr = Ctr(OURS, daemon.address)
    ctr("images", "import", image_archive)
    ctr("images", "tag", IMAGE, "local.test/second:1")
    ctr("snapshots", "prepare", "work")
    ctr("containers", "create", IMAGE, "c1")
    eventually(lambda: held(daemon), "the reserve is there")
    filler = fill(disk)
    said = ""
    for number in range(200):  # what the database has left of its own is used up first
        code, _, said = ctr.status("namespaces", "create", f"n{number}")
        if code:
            break
    assert "the disk is full" in said
    assert "removing" in said
    code, _, said = ctr.status("images", "import", image_archive)
    assert code
    assert "disk is full" in said or "no space left" in said.lower()
    digest = ctr("content", "ls", "-q").split()[0]
    ctr("containers", "rm", "c1")
    ctr("snapshots", "rm", "work")
    ctr("content", "rm", digest)
    ctr("images", "rm", "--sync", "local.test/second:1", IMAGE)
    assert ctr("images", "ls", "-q") == ""
    assert ctr("content", "ls", "-q") == ""
    assert len(ctr("snapshots", "ls").splitlines()) == 1
    os.unlink(filler)
    eventually(lambda: held(daemon), "the reserve is taken again")
    ctr("namespaces", "create", "afterwards")
    assert "the disk has room again" in daemon.log()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_daemon_starts_on_a_full_disk(daemon: Daemon, disk: str, image_archive: str, end: str) -> None:
    daemon.start()
    ctr = Ctr(OURS, daemon.address)
    ctr("images", "import", image_archive)
    eventually(lambda: held(daemon), "the reserve is there")
    if end == "kill":
        filler = fill(disk)
    getattr(daemon, end)()
    if end == "stop":
        filler = fill(disk)
    daemon.start()
    assert "kept in reserve" in daemon.log()
    assert ctr("images", "ls", "-q").strip() == IMAGE
    ctr("images", "rm", IMAGE)
    os.unlink(filler)
    eventually(lambda: held(daemon), "the reserve is taken again")
    ctr("images", "import", image_archive)
