"""One content store, written by one implementation and read by the other."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.api.services.leases.v1 import leases_pb2 as leases
from pycontainerd.content.local import LocalStore
from pycontainerd.contracts import digests
from pycontainerd.testing import images, needs
from pycontainerd.testing.content_stores import put, read
from pycontainerd.testing.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.interop]

DATA = b"".join(b"%d bottles of data\n" % number for number in range(40_000))
DIGEST = digests.of(DATA)
HALF = len(DATA) // 2
# A collection would take what has no record, which is the point here.
PATIENT = '[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = "1h"\n'


def go() -> Daemon:
    needs.root()
    needs.command("containerd")
    return Daemon.go(config=PATIENT)


def directory(daemon: Daemon) -> str:
    return f"{daemon.root}/io.containerd.content.v1.content"


def test_what_the_go_containerd_wrote_is_taken_over(connect: Any) -> None:
    with go() as daemon:
        wire = connect(daemon)
        wire.put(b"whole")
        wire.write(pb.WriteContentRequest(action=pb.WRITE, ref="r", data=DATA[:HALF], total=len(DATA)))
        theirs = wire.status("r")
        daemon.stop()
        store = LocalStore(directory(daemon))
        assert [info.digest for info in store.walk()] == [digests.of(b"whole")]
        assert read(store, digests.of(b"whole")) == b"whole"
        (status,) = store.statuses()
        assert (status.ref, status.offset, status.total) == ("one/1/r", HALF, len(DATA))
        assert abs(status.started_at - theirs.started_at.ToDatetime(UTC)) < timedelta(milliseconds=1)
        writer = store.writer("one/1/r", total=len(DATA), expected=DIGEST)
        assert writer.status().offset == HALF
        assert writer.status().started_at == status.started_at
        writer.write(DATA[HALF:])
        assert writer.commit(len(DATA), DIGEST).digest == DIGEST
        assert list(store.statuses()) == []
        daemon.start()
        again = connect(daemon)
        again.write(pb.WriteContentRequest(action=pb.COMMIT, ref="new", offset=len(DATA), expected=DIGEST))
        assert again.read(DIGEST) == DATA


def test_the_go_containerd_reads_and_goes_on_with_what_we_wrote(connect: Any) -> None:
    daemon = go()
    try:
        store = LocalStore(directory(daemon))
        put(store, b"whole")
        writer = store.writer("one/1/r", total=len(DATA))
        writer.write(DATA[:HALF])
        began = writer.status().started_at
        writer.close()
        daemon.start()
        wire = connect(daemon)
        opened = wire.stat("r", "", len(DATA))
        assert (opened.offset, opened.total) == (HALF, len(DATA))
        assert abs(opened.started_at.ToDatetime(UTC) - began) < timedelta(milliseconds=1)
        assert (wire.status("r").offset, wire.status("r").total) == (HALF, len(DATA))
        rest = pb.WriteContentRequest(
            action=pb.COMMIT, ref="r", offset=HALF, data=DATA[HALF:], total=len(DATA), expected=DIGEST
        )
        assert wire.write(rest)[-1].digest == DIGEST
        assert wire.read(DIGEST) == DATA
        shared = digests.of(b"whole")
        assert wire.stat("s", shared, 5).offset == 5
        wire.write(pb.WriteContentRequest(action=pb.COMMIT, ref="s", offset=5, expected=shared))
        assert wire.read(shared) == b"whole"
        wire.call("Delete", pb.DeleteContentRequest(digest=shared), pb.ReadContentResponse)
    finally:
        daemon.close()


def test_a_daemon_on_a_root_of_the_go_containerd_collects_none_of_its_content(area: str, connect: Any) -> None:
    needs.root()
    image = images.multi_platform()
    with Daemon.go(needs.command("containerd"), config=PATIENT, directory=area) as theirs:
        wire = connect(theirs)
        for number, data in enumerate(image.blobs.values()):
            wire.put(data, ref=f"r{number}")
    with Daemon.ours(directory=area) as daemon:
        ours = connect(daemon, "default")
        made = ours.call("Create", leases.CreateRequest(), leases.CreateResponse, "leases.v1.Leases").lease.id
        ours.call("Delete", leases.DeleteRequest(id=made, sync=True), Empty, "leases.v1.Leases")  # a collection
        assert ours.digests() == set(image.blobs)
        assert [ours.read(digest) for digest in image.blobs] == list(image.blobs.values())
        assert "beside content that is there" in daemon.log()


def test_both_make_the_same_files(connect: Any) -> None:
    found = {}
    for daemon in (go(), Daemon.ours(config=PATIENT)):
        with daemon:
            wire = connect(daemon)
            wire.put(b"whole")
            wire.write(pb.WriteContentRequest(action=pb.WRITE, ref="r", data=b"half", total=8))
            wire.write(pb.WriteContentRequest(action=pb.WRITE, ref="s", data=b"half"))
            found[daemon.kind] = files(directory(daemon))
    assert found["ours"] == found["go"]


def files(root: str) -> dict[str, object]:
    """Every file below, with its mode and what is in it where that is no time."""
    result: dict[str, object] = {}
    for above, _, names in os.walk(root):
        for name in names:
            path = os.path.join(above, name)
            data: object = Path(path).read_bytes()
            if name in ("startedat", "updatedat"):
                data = datetime.fromisoformat(data.decode()).tzinfo is not None  # type: ignore[attr-defined]
            elif name == "ref":
                data = data.split(b"/")[::2]  # type: ignore[attr-defined] - what is between is a number of its own
            key = os.path.relpath(path, root)
            result[key if key.startswith("blobs") else name + str(data)] = (data, os.stat(path).st_mode)
    return result
