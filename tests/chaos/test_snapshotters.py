"""kill -9 in the middle of snapshot operations: what was acknowledged is there with its files, and nothing else is.

CHAOS_KILLS says how often (for each snapshotter).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontainerd.contracts.snapshots import Kind
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.sys.mount import mounted, remove_tree
from pycontainerd.testing import zfs
from pycontainerd.testing.filesystems import loop, run
from pycontainerd_snapshotter_btrfs import plugin as btrfs_plugin
from pycontainerd_snapshotter_zfs.datasets import Datasets

sys.path.insert(0, str(Path(__file__).parent))
from snapshotter_load import open_snapshotter

pytestmark = pytest.mark.root

RUNS = int(os.environ.get("CHAOS_KILLS", "4"))
SCRIPT = str(Path(__file__).with_name("snapshotter_load.py"))


@pytest.fixture(params=["native", "overlayfs", "btrfs", "zfs"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A snapshotter, and where its snapshots are."""
    with contextlib.ExitStack() as stack:
        if request.param == "btrfs":
            yield "btrfs", f"{stack.enter_context(loop('btrfs'))}/root"
        elif request.param == "zfs":
            dataset = f"{stack.enter_context(zfs.pool()).dataset}/{uuid.uuid4().hex[:8]}"
            run("zfs", "create", "-o", "mountpoint=none", dataset)
            yield "zfs", dataset
        else:
            path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
            stack.callback(remove_tree, path)
            yield request.param, path


def numbers(kind: str, root: str) -> set[int]:
    """Of every tree that is there, whatever it is called."""
    if kind == "zfs":
        return {int(name.rpartition(".")[2]) for name in Datasets(root).names()}
    if kind == "btrfs":
        return {holding.number for holding in btrfs_plugin.holdings(root)}
    return {int(name.rpartition(".")[2]) for name in os.listdir(f"{root}/snapshots")}


def expected(ledger: Path) -> tuple[set[str], set[str]]:
    """Which snapshots must be there, and which may be: the last word on each counts."""
    last: dict[str, str] = {}
    for line in ledger.read_text().splitlines():
        last[line[2:]] = line[0]
    must = {key for key, word in last.items() if word == "+"}
    return must, must | {key for key, word in last.items() if word == "?"}


def killed_in_the_middle(kind: str, root: str, database: Path, ledger: Path) -> int:
    """The process group of what it started."""
    command = [sys.executable, SCRIPT, kind, root, str(database), str(ledger)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(random.uniform(0.05, 0.6))
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        if random.random() < 0.5:  # else the next daemon starts while commands of this one are under way
            wait_for_children(process.pid)
    return process.pid


def wait_for_children(group: int) -> None:
    """Commands outlive the daemon that started them."""
    with contextlib.suppress(ProcessLookupError):
        for _ in range(1000):
            os.killpg(group, 0)
            time.sleep(0.02)


def examine(kind: str, root: str, database: SqliteDatabase, ledger: Path, group: int) -> None:
    snapshotter: Any = open_snapshotter(kind, root, database)
    wait_for_children(group)
    snapshotter.cleanup()
    found = {info.name: info for info in snapshotter.walk()}
    must, may = expected(ledger)
    assert must <= found.keys()
    assert found.keys() <= may | {"base", "base active"}
    assert numbers(kind, root) == set(snapshotter._records.ids())
    # What is there can be used: mounted, committed and built on.
    mounting = zfs.mounted if kind == "zfs" else mounted
    active = [name for name, info in found.items() if info.kind is Kind.ACTIVE]
    for name in random.sample(active, min(2, len(active))):
        with mounting(snapshotter.mounts(name)) as path:
            os.mkdir(f"{path}/usable")
        snapshotter.commit(f"examined {name}", name)
        snapshotter.remove(f"examined {name}")
    for name in {info.name for info in snapshotter.walk(["kind==view"])} | {
        info.name for info in snapshotter.walk(["kind==active"])
    }:
        snapshotter.remove(name)
    for info in snapshotter.walk():
        if info.name != "base":
            snapshotter.remove(info.name)
    snapshotter.close()
    snapshotter.cleanup()
    assert len(numbers(kind, root)) <= 1
    ledger.write_text("")


@pytest.mark.timeout(600)
def test_what_was_acknowledged_survives_kill_9_and_nothing_leaks(place: tuple[str, str], tmp_path: Path) -> None:
    kind, root = place
    database, ledger = tmp_path / "metadata.db", tmp_path / "ledger"
    for _ in range(RUNS if kind != "zfs" else -(-RUNS // 2)):  # whose commands take their time
        group = killed_in_the_middle(kind, root, database, ledger)
        opened = SqliteDatabase(str(database), print, sync=False)
        try:
            examine(kind, root, opened, ledger, group)
        finally:
            opened.close()
