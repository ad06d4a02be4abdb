"""What clients rely on of the content service: the same tests for our daemon and for the Go containerd."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.contracts import digests
from pycontainerd.testing.client import eventually

pytestmark = [pytest.mark.root, pytest.mark.interop]

DATA = b"".join(b"%d bottles of data\n" % number for number in range(40_000))
DIGEST = digests.of(DATA)
HALF = len(DATA) // 2
ISOLATED = '[plugins."io.containerd.metadata.v1.bolt"]\ncontent_sharing_policy = "isolated"\n'


def refused(code: grpc.StatusCode, use: Any, *args: Any) -> None:
    with pytest.raises(grpc.RpcError) as found:
        use(*args)
    assert found.value.code() is code


def half(wire: Any, ref: str = "r") -> None:
    wire.write(pb.WriteContentRequest(action=pb.WRITE, ref=ref, data=DATA[:HALF], total=len(DATA), expected=DIGEST))


def test_an_ingest_outlives_a_killed_daemon_and_goes_on_where_it_stopped(daemon: Any, connect: Any) -> None:
    with daemon() as running:
        half(connect(running))
        running.kill()
        running.start()
        wire = connect(running)
        assert (wire.status("r").offset, wire.status("r").total) == (HALF, len(DATA))
        opened = wire.stat("r", DIGEST, len(DATA))
        assert (opened.offset, opened.total) == (HALF, len(DATA))
        rest = pb.WriteContentRequest(
            action=pb.COMMIT, ref="r", offset=HALF, data=DATA[HALF:], total=len(DATA), expected=DIGEST
        )
        assert wire.write(rest)[-1].digest == DIGEST
        assert wire.read(DIGEST) == DATA
        assert wire.refs() == set()


def test_ingests_run_side_by_side_and_a_ref_has_one_writer(daemon: Any, connect: Any) -> None:
    with daemon() as running:
        wire = connect(running)
        blobs = [hashlib.sha256(b"%d" % number).digest() * 20_000 for number in range(12)]
        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(lambda number: wire.put(blobs[number], ref=f"r{number}"), range(12)))
        assert found == [digests.of(blob) for blob in blobs]
        assert [wire.read(digest) for digest in found] == blobs
        release = threading.Event()

        def held() -> Any:
            yield pb.WriteContentRequest(action=pb.STAT, ref="held")
            release.wait(30)

        stream = wire.writing(held())
        next(stream)
        refused(grpc.StatusCode.UNAVAILABLE, wire.stat, "held")
        release.set()
        list(stream)
        eventually(lambda: "held" in wire.refs(), "the ingest is kept")


def test_an_aborted_ingest_is_gone_with_its_bytes(daemon: Any, connect: Any) -> None:
    with daemon() as running:
        wire = connect(running)
        for ref in ("layer-1", "layer-2", "config"):
            half(wire, ref)
        assert wire.refs() == {"layer-1", "layer-2", "config"}
        assert wire.refs("ref==config") == {"config"}
        assert wire.refs("ref~=layer-.*") == {"layer-1", "layer-2"}
        wire.abort("layer-1")
        assert wire.refs() == {"layer-2", "config"}
        refused(grpc.StatusCode.NOT_FOUND, wire.status, "layer-1")
        refused(grpc.StatusCode.NOT_FOUND, wire.abort, "layer-1")
        assert wire.stat("layer-1").offset == 0


def test_ranges_of_a_blob(daemon: Any, connect: Any) -> None:
    with daemon() as running:
        wire = connect(running)
        wire.put(DATA)
        size = len(DATA)
        for offset, length in ((0, 0), (0, 1), (5, 10), (size - 3, 0), (size - 3, 3), (CHUNKS := 1 << 16, CHUNKS)):
            assert wire.read(DIGEST, offset, length) == DATA[offset : offset + length if length else size]
        assert wire.read(DIGEST, size) == b""
        refused(grpc.StatusCode.OUT_OF_RANGE, wire.read, DIGEST, size + 1)
        refused(grpc.StatusCode.NOT_FOUND, wire.read, digests.of(b"none"))


def test_labels_are_changed_by_path_and_found_by_filter(daemon: Any, connect: Any) -> None:
    with daemon() as running:
        wire = connect(running)
        other = wire.put(b"other")
        wire.put(DATA, DIGEST, one="1", two="2")
        assert dict(wire.info(DIGEST).labels) == {"one": "1", "two": "2"}
        assert wire.update(DIGEST, {"one": "new", "three": "no"}, "labels.one", "labels.two") == {"one": "new"}
        assert wire.update(DIGEST, {"three": "3"}, "labels") == {"three": "3"}
        assert wire.digests("labels.three==3") == {DIGEST}
        assert wire.digests("labels.one") == set()
        assert wire.digests(f"digest=={other}", "labels.three") == {DIGEST, other}
        refused(grpc.StatusCode.INVALID_ARGUMENT, wire.update, DIGEST, {"k": "v" * 5000}, "labels.k")


def test_a_blob_of_another_namespace_is_had_for_naming_it(daemon: Any, connect: Any) -> None:
    with daemon() as running:
        one, two = connect(running), connect(running, "two")
        one.put(DATA)
        refused(grpc.StatusCode.NOT_FOUND, two.info, DIGEST)
        assert two.stat("r", DIGEST, len(DATA)).offset == len(DATA)
        two.write(pb.WriteContentRequest(action=pb.COMMIT, ref="r", expected=DIGEST, offset=len(DATA), total=len(DATA)))
        assert two.read(DIGEST) == DATA


def test_under_isolation_it_is_not(daemon: Any, connect: Any) -> None:
    with daemon(ISOLATED) as running:
        one, two = connect(running), connect(running, "two")
        one.put(DATA)
        assert two.stat("r", DIGEST, len(DATA)).offset == 0
        assert two.put(DATA, DIGEST, "r") == DIGEST


def test_but_for_what_a_namespace_shares(daemon: Any, connect: Any) -> None:
    with daemon(ISOLATED) as running:
        two, sharing = connect(running, "two"), connect(running, "sharing")
        sharing.label_namespace(**{"containerd.io/namespace.shareable": "true"})
        shared = sharing.put(b"shared")
        # The Go containerd 1.6 does not look at the label, 2.x does.
        heeded = running.kind != "go" or not version(running).startswith("1.")
        assert two.stat("s", shared, 6).offset == (6 if heeded else 0)


def version(running: Any) -> str:
    """Of the executable, as in ``containerd github.com/containerd/containerd v2.3.4 …``."""
    said = subprocess.run([*running.command, "--version"], check=True, capture_output=True, text=True).stdout
    return said.split()[2].removeprefix("v")
