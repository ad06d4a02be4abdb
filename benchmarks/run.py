"""The numbers we promise, paired with the Go containerd in one run, by the same Go client.

    make bench                  all of them
    python benchmarks/run.py graph cold-start run-rm memory

Every figure is a median; ratio is ours divided by theirs, pair by pair.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from collection import measure as measure_collection
from daemons import Daemon, pair
from graph import graph

RUNS = int(os.environ.get("RUNS", "15"))
GC_RUNS = int(os.environ.get("GC_RUNS", "3"))
CONTAINERS = int(os.environ.get("CONTAINERS", "10"))
IMAGE = "local/bench:1"


def report(name: str, ours: list[float], theirs: list[float], unit: str, goal: str) -> None:
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"{name:34} ours {statistics.median(ours):8.3f} {unit}   go {statistics.median(theirs):8.3f} {unit}"
        f"   ratio {ratio:5.2f}   (goal: {goal}; {len(ours)} pairs)"
    )


def with_image(ours: Daemon, theirs: Daemon) -> None:
    archive = Path(ours.directory, "image.tar")
    subprocess.run(
        [sys.executable, "-m", "pycontainerd.testing.images", "--from-host", "--name", IMAGE, str(archive)], check=True
    )
    for daemon in (ours, theirs):
        daemon.start()
        daemon.ctr("images", "import", str(archive))


def cold_start() -> None:
    """From exec to the first answered RPC, second start of each root."""
    with pair() as (ours, theirs):
        taken: dict[str, list[float]] = {"ours": [], "go": []}
        for turn in range(RUNS + 1):
            for daemon in (ours, theirs):
                seconds = daemon.start()
                daemon.stop()
                if turn:
                    taken[daemon.name].append(seconds)
        report("cold start to first RPC", taken["ours"], taken["go"], "s", "ours at most 0.4 s")


def run_rm() -> None:
    """`ctr run --rm IMAGE /bin/true`."""
    with pair() as (ours, theirs):
        with_image(ours, theirs)
        taken: dict[str, list[float]] = {"ours": [], "go": []}
        for turn in range(RUNS + 1):
            for daemon in (ours, theirs):
                began = time.monotonic()
                daemon.ctr("run", "--rm", IMAGE, f"bench-{daemon.name}-{turn}", "/bin/true")
                if turn:
                    taken[daemon.name].append(time.monotonic() - began)
        report("run --rm /bin/true", taken["ours"], taken["go"], "s", "ratio at most 1.5")


def pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no Pss of {pid}")


def helpers(daemon: Daemon) -> list[int]:
    """Every process that works for ``daemon`` but is neither it nor in a container: shims and what starts them."""
    assert daemon.process is not None
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == daemon.process.pid:
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "shim" in command or "zygote" in command:
            if daemon.directory in command or daemon.directory in os.readlink(entry / "cwd"):
                found.append(int(entry.name))
        elif daemon.directory in command and "containerd" in command and "ctr" not in command:
            found.append(int(entry.name))
    return found


def memory() -> None:
    """PSS of all helper processes, divided by the number of detached containers."""
    with pair() as (ours, theirs):
        with_image(ours, theirs)
        taken: dict[str, list[float]] = {}
        for daemon in (ours, theirs):
            names = [f"mem-{daemon.name}-{n}" for n in range(CONTAINERS)]
            for name in names:
                daemon.ctr("run", "-d", IMAGE, name, "/bin/sh", "-c", "while :; do sleep 1000; done")
            time.sleep(1)
            pids = helpers(daemon)
            taken[daemon.name] = [sum(map(pss_mib, pids)) / CONTAINERS]
            for name in names:
                daemon.ctr("task", "kill", "-s", "KILL", name)
            time.sleep(1)
            for name in names:
                daemon.ctr("task", "rm", name)
                daemon.ctr("containers", "rm", name)
        report(f"memory a container ({CONTAINERS} running)", taken["ours"], taken["go"], "MiB", "ratio at most 1")


def collection() -> None:
    """A collection of 20,000 blobs and snapshots of which half are garbage, from the call to its answer."""
    taken: dict[str, list[tuple[float, float, float]]] = {"ours": [], "go": []}
    for _ in range(GC_RUNS):
        with pair() as (ours, theirs):
            for daemon in (ours, theirs):
                taken[daemon.name].append(measure_collection(daemon))
    goals = ("ratio at most 1", "ours at most 50 ms", "ours at most 50 ms")
    names = ("gc: the collection", "gc: longest read of a client", "gc: longest write of a client")
    for column, (name, goal) in enumerate(zip(names, goals, strict=True)):
        report(name, [row[column] for row in taken["ours"]], [row[column] for row in taken["go"]], "s", goal)


ALL: dict[str, Callable[[], None]] = {
    "graph": graph,
    "cold-start": cold_start,
    "run-rm": run_rm,
    "memory": memory,
    "gc": collection,
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or list(ALL):
        ALL[chosen]()
