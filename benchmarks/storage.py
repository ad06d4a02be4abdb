"""Storage, paired with the Go containerd: one small client for both, so that what differs is the daemon.

    python benchmarks/storage.py                            all of them
    python benchmarks/storage.py commits snapshots record list write read

Every figure is a median; ratio is ours divided by theirs, pair by pair.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from daemons import Daemon, pair
from run import report

from pycontainerd.api.services.containers.v1 import containers_pb2 as containers
from pycontainerd.api.services.content.v1 import content_pb2 as content
from pycontainerd.api.services.namespaces.v1 import namespace_pb2 as namespaces
from pycontainerd.api.services.snapshots.v1 import snapshots_pb2 as snapshots

ROUNDS = int(os.environ.get("ROUNDS", "7"))
SNAPSHOTTER = os.environ.get("SNAPSHOTTER", "overlayfs")
MIB = int(os.environ.get("MIB", "256"))
CHUNK = 1 << 20
META = (("containerd-namespace", "bench"),)


class Client:
    """The raw RPCs, with messages made beforehand."""

    def __init__(self, daemon: Daemon) -> None:
        options = [("grpc.default_authority", "localhost"), ("grpc.max_receive_message_length", 64 << 20)]
        options.append(("grpc.use_local_subchannel_pool", 1))
        self._channel = grpc.insecure_channel(f"unix://{daemon.address}", options=options)
        self._calls: dict[str, Any] = {}

    def __call__(self, path: str, request: Any) -> bytes:
        call = self._calls.get(path)
        if call is None:
            call = self._channel.unary_unary(f"/containerd.services.{path}", _serialized, _raw)
            self._calls[path] = call
        answer: bytes = call(request, metadata=META, timeout=120)
        return answer

    def stream(self, path: str, request: Any) -> Iterator[bytes]:
        call = self._channel.unary_stream(f"/containerd.services.{path}", _serialized, _raw)
        yield from call(request, metadata=META, timeout=300)

    def duplex(self, path: str, requests: Iterator[Any]) -> Iterator[bytes]:
        call = self._channel.stream_stream(f"/containerd.services.{path}", _serialized, _raw)
        yield from call(requests, metadata=META, timeout=300)

    def close(self) -> None:
        self._channel.close()


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _raw(data: bytes) -> bytes:
    return data


def compare(name: str, goal: str, unit: str, work: Callable[[Client, int], float], rounds: int = ROUNDS) -> None:
    """Measure ``work`` at both daemons in turn, after a round that does not count."""
    with pair() as daemons:
        taken: dict[str, list[float]] = {"ours": [], "go": []}
        clients = {}
        for daemon in daemons:
            daemon.start()
            clients[daemon.name] = Client(daemon)
            request = namespaces.CreateNamespaceRequest(namespace=namespaces.Namespace(name="bench"))
            clients[daemon.name]("namespaces.v1.Namespaces/Create", request)
        for turn in range(rounds + 1):
            for daemon in daemons:
                figure = work(clients[daemon.name], turn)
                if turn:
                    taken[daemon.name].append(figure)
        for client in clients.values():
            client.close()
        report(name, taken["ours"], taken["go"], unit, goal)


def _cycle(client: Client, key: str) -> None:
    labels = {"containerd.io/gc.root": "bench"}  # no collection shall come in between
    request = snapshots.PrepareSnapshotRequest(snapshotter=SNAPSHOTTER, key=key, labels=labels)
    client("snapshots.v1.Snapshots/Prepare", request)
    client("snapshots.v1.Snapshots/Remove", snapshots.RemoveSnapshotRequest(snapshotter=SNAPSHOTTER, key=key))


def _snapshots_alone(client: Client, turn: int) -> float:
    count = 100
    began = time.monotonic()
    for number in range(count):
        _cycle(client, f"s-{turn}-{number}")
    return (time.monotonic() - began) / count * 1000


def _snapshots_together(client: Client, turn: int) -> float:
    count, clients = 60, 8

    def run(who: int) -> None:
        for number in range(count):
            _cycle(client, f"s-{turn}-{who}-{number}")

    threads = [threading.Thread(target=run, args=(who,)) for who in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.monotonic() - began) / (count * clients) * 1000


def _container(name: str, size: int = 6000) -> Any:
    container = containers.Container(id=name, image="local/bench:1")
    container.runtime.name = "io.containerd.runc.v2"
    container.spec.type_url = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
    container.spec.value = b'{"ociVersion":"1.1.0","annotations":{"filler":"' + b"x" * size + b'"}}'
    container.labels["bench"] = "yes"
    return container


def _record(client: Client, turn: int) -> float:
    count = 100
    requests = [containers.CreateContainerRequest(container=_container(f"r-{turn}-{n}")) for n in range(count)]
    began = time.monotonic()
    for request in requests:
        client("containers.v1.Containers/Create", request)
    return (time.monotonic() - began) / count * 1000


def _records_together(client: Client, turn: int) -> float:
    count, clients = 60, 8

    def run(who: int) -> None:
        for number in range(count):
            name = f"r-{turn}-{who}-{number}"
            client("containers.v1.Containers/Create", containers.CreateContainerRequest(container=_container(name)))

    threads = [threading.Thread(target=run, args=(who,)) for who in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.monotonic() - began) / (count * clients) * 1000


def _list(client: Client, turn: int) -> float:
    if turn == 0:
        for number in range(500):
            request = containers.CreateContainerRequest(container=_container(f"l-{number}"))
            client("containers.v1.Containers/Create", request)
    times = 10
    began = time.monotonic()
    for _ in range(times):
        answer = client("containers.v1.Containers/List", containers.ListContainersRequest())
        assert len(answer) > 500 * 6000
    return (time.monotonic() - began) / times * 1000


def _blob(turn: int) -> tuple[list[bytes], str]:
    block = hashlib.sha256(str(turn).encode()).digest() * (CHUNK // 32)
    digest = hashlib.sha256()
    for _ in range(MIB):
        digest.update(block)
    return [block] * MIB, f"sha256:{digest.hexdigest()}"


def _write(client: Client, turn: int) -> float:
    blocks, digest = _blob(turn)

    def requests() -> Iterator[Any]:
        yield content.WriteContentRequest(action=content.STAT, ref=f"w-{turn}", total=MIB * CHUNK, expected=digest)
        for number, block in enumerate(blocks):
            yield content.WriteContentRequest(action=content.WRITE, offset=number * CHUNK, data=block)
        yield content.WriteContentRequest(
            action=content.COMMIT, offset=MIB * CHUNK, total=MIB * CHUNK, expected=digest, labels={"k": "v"}
        )

    began = time.monotonic()
    for _ in client.duplex("content.v1.Content/Write", requests()):
        pass
    taken = time.monotonic() - began
    client("content.v1.Content/Delete", content.DeleteContentRequest(digest=digest))
    return taken


def _read(client: Client, turn: int) -> float:
    blocks, digest = _blob(0)
    if turn == 0:
        requests = [content.WriteContentRequest(action=content.STAT, ref="r", total=MIB * CHUNK, expected=digest)]
        requests += [
            content.WriteContentRequest(action=content.WRITE, offset=number * CHUNK, data=block)
            for number, block in enumerate(blocks)
        ]
        requests.append(content.WriteContentRequest(action=content.COMMIT, offset=MIB * CHUNK, expected=digest))
        for _ in client.duplex("content.v1.Content/Write", iter(requests)):
            pass
    began = time.monotonic()
    size = sum(
        len(part) for part in client.stream("content.v1.Content/Read", content.ReadContentRequest(digest=digest))
    )
    assert size >= MIB * CHUNK
    return time.monotonic() - began


def grouped_commits() -> None:
    """8 threads that write to the metadata database: commits shared, against one for each write."""
    from pycontainerd.metadata import database as module

    taken: dict[int, list[float]] = {module.BATCH: [], 1: []}
    with tempfile.TemporaryDirectory(prefix="pycontainerd-bench.") as directory:
        for turn in range(ROUNDS + 1):
            for batch, figures in taken.items():
                module.BATCH = batch
                path = f"{directory}/{batch}.db"
                database = module.SqliteDatabase(path, print)
                seconds = _write_together(database, turn)
                database.close()
                if turn:
                    figures.append(seconds)
    shared, single = taken.values()
    ratio = statistics.median(a / b for a, b in zip(shared, single, strict=True))
    print(
        f"{'write of 8 at once':34} shared {statistics.median(shared):6.3f} ms   one commit each"
        f" {statistics.median(single):6.3f} ms   ratio {ratio:5.2f}   (goal: below 1; {len(shared)} pairs)"
    )


def _write_together(database: Any, turn: int) -> float:
    count, writers = 60, 8

    def run(who: int) -> None:
        for number in range(count):
            name = f"{turn}-{who}-{number}"
            database.write(lambda db, n=name: db.execute("INSERT INTO namespaces (name) VALUES (?)", (n,)))

    threads = [threading.Thread(target=run, args=(who,)) for who in range(writers)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.monotonic() - began) / (count * writers) * 1000


ALL: dict[str, tuple[str, str, str, Callable[[Client, int], float]]] = {
    "snapshots": ("snapshot prepare + remove, alone", "ratio at most 0.7", "ms", _snapshots_alone),
    "snapshots-8": ("snapshot prepare + remove, 8 at once", "ratio at most 0.5", "ms", _snapshots_together),
    "record": ("record create", "ratio at most 0.8", "ms", _record),
    "record-8": ("record create, 8 at once", "none", "ms", _records_together),
    "list": ("list of 500 containers of 6 kB", "ratio at most 1.0", "ms", _list),
    "write": (f"content write of {MIB} MiB", "ratio at most 1.0", "s", _write),
    "read": (f"content read of {MIB} MiB", "ratio at most 1.0", "s", _read),
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or ["commits", *ALL]:
        if chosen == "commits":
            grouped_commits()
        else:
            title, goal, unit, work = ALL[chosen]
            compare(title, goal, unit, work)
