"""The daemon is killed at random moments under mixed load, started again, and asked for everything it had acknowledged.

A ledger has what the daemon said yes to. What was under way when it died may be there or not, but if it is, then whole.
The seed is in the name of a failing test's message; CHAOS_ROUNDS and CHAOS_SEED run more, or the same again.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

from pycontainerd.client import Client
from pycontainerd.contracts.errors import Cancelled, Unavailable
from pycontainerd.testing import images
from pycontainerd.testing.chaos import Ledger, Load, empty, examine, fsck, stored
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.rootfs import host_rootfs

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "25"))  # kills in each of the tests below
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEED", "").split(",") if seed] or [
    random.SystemRandom().randrange(1 << 32) for _ in range(8)
]
BUSY = 6  # workers


async def under_load(daemon: Daemon, ledger: Ledger, dice: random.Random, rootfs: str, seconds: float) -> int:
    """Work for a while and kill the daemon in the middle of it; returns how many operations were acknowledged."""
    async with Client(daemon.address, namespace=ledger.namespace) as client:
        load = Load(client, ledger, dice, rootfs)
        workers = [asyncio.create_task(load.work()) for _ in range(BUSY)]
        await asyncio.sleep(seconds)
        daemon.kill()
        ended = await asyncio.gather(*workers, return_exceptions=True)
    for error in ended:  # of the daemon's end, and of nothing else
        assert isinstance(error, (Unavailable, Cancelled)), error
    return load.done


def until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    """Directories of removed snapshots are deleted a moment later."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.05)


@pytest.fixture
def rootfs() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="pyc-r", dir="/tmp")
    with tarfile.open(fileobj=io.BytesIO(images.tar_of(host_rootfs()))) as archive:
        archive.extractall(directory, filter="fully_trusted")
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_nothing_acknowledged_is_lost_and_nothing_leaks(seed: int, rootfs: str) -> None:
    dice, ledger, done = random.Random(seed), Ledger(), 0
    with Daemon.ours() as daemon:
        try:
            for number in range(ROUNDS):
                done += asyncio.run(under_load(daemon, ledger, dice, rootfs, dice.uniform(0.02, 0.4)))
                daemon.start()
                asyncio.run(examine(daemon.address, ledger))
                if number % 5 == 0:
                    daemon.stop()
                    assert fsck(daemon, "--repair", "--digests") == ""
                    daemon.start()
            left = asyncio.run(empty(daemon.address, ledger))
            assert not any(left.values()), left
            until(lambda: stored(daemon.root) == [], lambda: str(stored(daemon.root)))
            assert daemon.leftovers() == []
        except BaseException as exc:
            exc.add_note(f"CHAOS_SEED={seed} CHAOS_ROUNDS={ROUNDS} does it again; {done} operations were acknowledged")
            exc.add_note(f"the daemon said:\n{daemon.log_tail()}")
            raise
        assert done > ROUNDS  # the load was one
