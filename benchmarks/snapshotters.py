"""Prepare and remove of a snapshot on a layer of 200 files, and prepare, commit and remove, for each snapshotter.

    python benchmarks/snapshotters.py                       all of them
    python benchmarks/snapshotters.py overlayfs btrfs

Paired with the Go containerd where it has the snapshotter: its zfs needs ZFS in the kernel, so with zfs-fuse ours is alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from daemons import Daemon, pair
from run import report
from storage import Client

from pycontainerd.api.convert import mount_records
from pycontainerd.api.services.namespaces.v1 import namespace_pb2 as namespaces
from pycontainerd.api.services.snapshots.v1 import snapshots_pb2 as snapshots
from pycontainerd.contracts.types import Mount
from pycontainerd.sys.mount import mounted
from pycontainerd.testing import zfs
from pycontainerd.testing.filesystems import loop

ROUNDS = int(os.environ.get("ROUNDS", "7"))
FILES = int(os.environ.get("FILES", "200"))
COUNT = 30
LABELS = {"containerd.io/gc.root": "bench"}  # no collection shall come in between
Mounting = Callable[[list[Mount]], contextlib.AbstractContextManager[str]]


class Snapshots:
    """The calls on one snapshotter."""

    def __init__(self, client: Client, snapshotter: str) -> None:
        self._client = client
        self._name = snapshotter

    def prepare(self, key: str, parent: str = "") -> list[Mount]:
        request = snapshots.PrepareSnapshotRequest(snapshotter=self._name, key=key, parent=parent, labels=LABELS)
        answer = self._client("snapshots.v1.Snapshots/Prepare", request)
        return mount_records(snapshots.PrepareSnapshotResponse.FromString(answer).mounts)

    def commit(self, name: str, key: str) -> None:
        request = snapshots.CommitSnapshotRequest(snapshotter=self._name, name=name, key=key, labels=LABELS)
        self._client("snapshots.v1.Snapshots/Commit", request)

    def remove(self, key: str) -> None:
        self._client("snapshots.v1.Snapshots/Remove", snapshots.RemoveSnapshotRequest(snapshotter=self._name, key=key))


def base(store: Snapshots, mounting: Mounting) -> None:
    """A committed snapshot with files in it."""
    with mounting(store.prepare("base-active")) as root:
        for number in range(FILES):
            with open(f"{root}/{number}", "wb") as file:
                file.write(b"x" * 4096)
    store.commit("base", "base-active")


def prepare_and_remove(store: Snapshots, turn: int) -> float:
    began = time.monotonic()
    for number in range(COUNT):
        store.prepare(f"{turn}-{number}", "base")
        store.remove(f"{turn}-{number}")
    return (time.monotonic() - began) / COUNT * 1000


def commit_too(store: Snapshots, turn: int) -> float:
    began = time.monotonic()
    for number in range(COUNT):
        store.prepare(f"a-{turn}-{number}", "base")
        store.commit(f"c-{turn}-{number}", f"a-{turn}-{number}")
        store.remove(f"c-{turn}-{number}")
    return (time.monotonic() - began) / COUNT * 1000


@contextlib.contextmanager
def places(snapshotter: str) -> Iterator[tuple[dict[str, str], Mounting]]:
    """Where the snapshots of each daemon are ("" is its own directory), and how they are mounted."""
    with contextlib.ExitStack() as stack:
        if snapshotter == "btrfs":
            yield {name: stack.enter_context(loop("btrfs", 2048)) for name in ("ours", "go")}, mounted
        elif snapshotter == "zfs":
            yield {"ours": stack.enter_context(zfs.pool()).root}, zfs.mounted
        else:
            yield {"ours": "", "go": ""}, mounted


def measure(snapshotter: str) -> None:
    works = {"prepare + remove": prepare_and_remove, "prepare + commit + remove": commit_too}
    taken: dict[str, dict[str, list[float]]] = {work: {} for work in works}
    with places(snapshotter) as (roots, mounting), pair() as both:
        stores = {}
        for daemon in both:
            if daemon.name in roots:
                stores[daemon.name] = started(daemon, snapshotter, roots[daemon.name])
                base(stores[daemon.name], mounting)
        for turn in range(ROUNDS + 1):
            for work, function in works.items():
                for name, store in stores.items():
                    figure = function(store, turn)
                    if turn:
                        taken[work].setdefault(name, []).append(figure)
    for work, figures in taken.items():
        title = f"{snapshotter}: {work}"
        if "go" in figures:
            report(title, figures["ours"], figures["go"], "ms", "ratio at most 0.7")
        else:
            median = sorted(figures["ours"])[len(figures["ours"]) // 2]
            print(f"{title:34} ours {median:8.3f} ms   (the Go containerd has no {snapshotter} here)")


def started(daemon: Daemon, snapshotter: str, root: str) -> Snapshots:
    if root:
        with open(f"{daemon.directory}/config.toml", "a", encoding="utf-8") as file:
            file.write(f'[plugins."io.containerd.snapshotter.v1.{snapshotter}"]\nroot_path = "{root}"\n')
    daemon.start()
    client = Client(daemon)
    client(
        "namespaces.v1.Namespaces/Create",
        namespaces.CreateNamespaceRequest(namespace=namespaces.Namespace(name="bench")),
    )
    return Snapshots(client, snapshotter)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ("overlayfs", "native", "btrfs", "zfs"):
        measure(chosen)
