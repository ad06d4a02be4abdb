"""The power fails at random moments: what had not reached the disk by then is missing or half there.

The daemon's root is an ext4 file system in a file. The file is copied in one instant (a clone on btrfs) while the daemon
works, so that a copy is what a disk would hold had the power failed just then. Each copy is checked, mounted, and opened by a
daemon that finds itself in another boot.
"""

from __future__ import annotations

import asyncio
import copy
import fcntl
import os
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.client import Client
from pycontainerd.contracts.errors import Cancelled, Unavailable
from pycontainerd.sys.mount import unmount_recursive
from pycontainerd.testing import filesystems
from pycontainerd.testing.chaos import Ledger, Load, empty, examine, fsck, stored
from pycontainerd.testing.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
CUTS = int(os.environ.get("CHAOS_CUTS", "12"))
SEED = int(os.environ.get("CHAOS_SEED", "0").split(",")[0]) or random.SystemRandom().randrange(1 << 32)
FICLONE = 0x40049409
MEGABYTES = 192


@pytest.fixture
def disk() -> Iterator[Path]:
    """The backing file of an ext4 file system, on a file system that can clone it."""
    with filesystems.loop("btrfs", 2048) as directory:
        path = Path(directory, "disk")
        path.write_bytes(b"")
        os.truncate(path, MEGABYTES << 20)
        filesystems.run("mkfs.ext4", "-q", str(path))
        yield path


def daemon_in(directory: str, boot: Path) -> Daemon:
    """A daemon that takes the id in the file ``boot`` for that of this boot of the machine."""
    script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
    inner = ["sh", "-c", script, str(boot), sys.executable, "-m", "pycontainerd.server.main"]
    return Daemon("ours", ["unshare", "--mount", *inner], directory=directory)


def mounted(disk: Path, name: str) -> str:
    point = disk.with_name(name)
    point.mkdir()
    filesystems.run("mount", "-o", "loop", str(disk), str(point))
    return str(point)


def clone(disk: Path, name: str) -> Path:
    copied = disk.with_name(name)
    with open(disk, "rb") as source, open(copied, "wb") as target:
        fcntl.ioctl(target, FICLONE, source.fileno())
    return copied


async def cut_off(daemon: Daemon, disk: Path, dice: random.Random) -> list[tuple[Path, Ledger]]:
    """Copies of the disk from moments of work, each with what had been acknowledged by then."""
    ledger, cuts = Ledger(), []
    async with Client(daemon.address, namespace=ledger.namespace) as client:
        load = Load(client, ledger, dice)
        workers = [asyncio.create_task(load.work()) for _ in range(4)]
        for number in range(CUTS):
            await asyncio.sleep(dice.uniform(0.1, 0.6))
            # In one step of the event loop: nothing is acknowledged meanwhile.
            cuts.append((clone(disk, f"cut-{number}"), copy.deepcopy(ledger)))
        daemon.kill()
        for error in await asyncio.gather(*workers, return_exceptions=True):
            assert isinstance(error, (Unavailable, Cancelled)), error
    assert load.done > CUTS
    return cuts


def test_what_was_acknowledged_is_there_and_whole_after_a_power_cut(disk: Path, tmp_path: Path) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text(f"{uuid.uuid4()}\n")
    point = mounted(disk, "live")
    dice = random.Random(SEED)
    try:
        with daemon_in(point, boot) as daemon:
            cuts = asyncio.run(cut_off(daemon, disk, dice))
    finally:
        unmount_recursive(point)  # where closing the daemon has not
    for image, ledger in cuts:
        boot.write_text(f"{uuid.uuid4()}\n")
        filesystems.run("e2fsck", "-p", str(image))  # replays the journal, and repairs nothing else without an error
        point = mounted(image, f"{image.name}-mnt")
        try:
            after(point, boot, ledger, f"CHAOS_SEED={SEED} CHAOS_CUTS={CUTS}, {image.name}")
        finally:
            unmount_recursive(point)  # where closing the daemon has not


def after(point: str, boot: Path, ledger: Ledger, note: str) -> None:
    filesystems.run(
        "rm", "-rf", f"{point}/state", f"{point}/c.sock", f"{point}/c.sock.ttrpc"
    )  # they are in memory on a machine
    with daemon_in(point, boot) as daemon:
        try:
            asyncio.run(examine(daemon.address, ledger))
            left = asyncio.run(empty(daemon.address, ledger))
            assert not any(left.values()), left
            daemon.stop()
            assert (
                fsck(daemon, "--repair", "--digests") == ""
            )  # trees whose removal had not reached the disk, for instance
            assert stored(daemon.root) == []
        except BaseException as exc:
            exc.add_note(f"{note}; the daemon said:\n{daemon.log_tail()}")
            raise
