"""A process that makes, commits and removes snapshots until it is killed, and writes down what was acknowledged.

python snapshotter_load.py KIND ROOT DATABASE LEDGER
"""

from __future__ import annotations

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore


def open_snapshotter(kind: str, root: str, database: SqliteDatabase) -> Any:
    """A snapshotter of that kind; of zfs ``root`` is the dataset."""
    records = RecordStore(database).records(kind)
    if kind == "native":
        return NativeSnapshotter(root, records)
    if kind == "overlayfs":
        from pycontainerd_snapshotter_overlay.snapshotter import OverlaySnapshotter

        return OverlaySnapshotter(root, records, options=("index=off",))
    if kind == "btrfs":
        from pycontainerd_snapshotter_btrfs import place
        from pycontainerd_snapshotter_btrfs.snapshotter import BtrfsSnapshotter

        return BtrfsSnapshotter(root, place.check(root), records)
    from pycontainerd_snapshotter_zfs.snapshotter import ZfsSnapshotter

    return ZfsSnapshotter(root, records)


class Load:
    """Each worker has keys of its own. A line of the ledger is written before an operation and after it."""

    def __init__(self, snapshotter: Any, ledger: int) -> None:
        self._snapshotter = snapshotter
        self._ledger = ledger

    def work(self, worker: int) -> None:
        chance = random.Random(os.urandom(8))
        run = os.urandom(4).hex()
        number = 0
        while True:
            number += 1
            name = f"{run}-{worker}-{number}"
            parent = chance.choice(["", "base"])
            self._do("+", f"a {name}", self._snapshotter.prepare, parent)
            fate = chance.random()
            if fate < 0.3:
                self._do("-", f"a {name}", self._snapshotter.remove)
            elif fate < 0.8:
                self._say("?", f"a {name}")
                self._say("?", f"c {name}")
                self._snapshotter.commit(f"c {name}", f"a {name}")
                self._say("-", f"a {name}")
                self._say("+", f"c {name}")
                self._do("+", f"v {name}", self._snapshotter.view, f"c {name}")
                if fate < 0.6:
                    self._do("-", f"v {name}", self._snapshotter.remove)
                    self._do("-", f"c {name}", self._snapshotter.remove)
            if chance.random() < 0.1:
                self._snapshotter.cleanup()

    def _do(self, outcome: str, key: str, operation: Any, *arguments: str) -> None:
        self._say("?", key)
        operation(key, *arguments)
        self._say(outcome, key)

    def _say(self, what: str, key: str) -> None:
        os.write(self._ledger, f"{what} {key}\n".encode())


def main(kind: str, root: str, path: str, ledger: str) -> None:
    database = SqliteDatabase(path, print, sync=False)
    snapshotter = open_snapshotter(kind, root, database)
    fd = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if "base" not in {info.name for info in snapshotter.walk()}:
        snapshotter.prepare("base active")
        snapshotter.commit("base", "base active")
    os.write(1, b"ready\n")
    load = Load(snapshotter, fd)
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(load.work, worker) for worker in range(3)]:
            future.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
