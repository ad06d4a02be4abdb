"""The messages of Content.Write and Read, answered as the Go containerd does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.content.content import Content
from pycontainerd.content.local import LocalStore
from pycontainerd.content.service import ContentRpc
from pycontainerd.content.service_write import WriteStream
from pycontainerd.contracts import digests
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.testing.content_stores import put

DATA = b"0123456789"
DIGEST = digests.of(DATA)


class NoEvents:
    def publish(self, namespace, event):
        """Nobody listens."""


class Call:
    scope = Scope("one")


@pytest.fixture
def content(tmp_path: Path) -> Iterator[Content]:
    database = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    yield Content(LocalStore(str(tmp_path)), database, NoEvents())
    database.close()


@pytest.fixture
def store(content):
    return content.scoped(Scope("one"))


@pytest.fixture
def stream(store) -> Iterator[WriteStream]:
    made = WriteStream(store)
    yield made
    made.close()


def send(stream, action, **fields):
    return stream.handle(pb.WriteContentRequest(action=action, **fields))


def test_a_blob_is_written_in_pieces_and_committed(stream, store):
    first = send(stream, pb.STAT, ref="r", total=10, expected=DIGEST)
    assert (first.action, first.offset, first.total, first.digest) == (pb.STAT, 0, 10, digests.of(b""))
    assert first.started_at.seconds > 0
    answer = send(stream, pb.WRITE, data=DATA[:4])
    assert (answer.action, answer.offset, answer.digest) == (pb.WRITE, 4, digests.of(DATA[:4]))
    assert send(stream, pb.WRITE, data=DATA[4:], offset=4).offset == 10
    answer = send(stream, pb.COMMIT, offset=10, total=10, expected=DIGEST, labels={"a": "b"})
    assert (answer.action, answer.offset, answer.digest) == (pb.COMMIT, 10, DIGEST)
    assert dict(store.info(DIGEST).labels) == {"a": "b"}


def test_one_message_can_do_it_all(stream, store):
    assert send(stream, pb.COMMIT, ref="r", data=DATA, expected=DIGEST, total=10).digest == DIGEST
    assert store.info(DIGEST).size == 10


def test_the_first_message_needs_a_ref(stream):
    with pytest.raises(InvalidArgument, match="first message must have a reference"):
        send(stream, pb.WRITE, data=b"x")


def test_a_write_elsewhere_than_at_the_end_is_out_of_range(stream):
    send(stream, pb.WRITE, ref="r", data=DATA)
    with pytest.raises(OutOfRange, match="current offset 10"):
        send(stream, pb.WRITE, data=b"x", offset=5)


def test_a_write_at_zero_starts_over(stream):
    send(stream, pb.WRITE, ref="r", data=b"wrong")
    assert send(stream, pb.WRITE, data=DATA[:3], offset=0).offset == 3


def test_a_size_that_is_not_the_announced_one_is_a_failed_precondition(stream, store):
    send(stream, pb.WRITE, ref="r", data=DATA, total=11)
    with pytest.raises(FailedPrecondition):
        send(stream, pb.COMMIT, offset=10)
    assert store.status("r").offset == 10


def test_a_digest_that_is_not_the_expected_one_is_a_failed_precondition(stream):
    send(stream, pb.WRITE, ref="r", data=DATA)
    with pytest.raises(FailedPrecondition):
        send(stream, pb.COMMIT, offset=10, expected=digests.of(b"other"))


def test_what_is_there_already_is_said_at_once(stream, store):
    put(store, DATA)
    with pytest.raises(AlreadyExists):
        send(stream, pb.STAT, ref="r", expected=DIGEST)


def test_what_is_there_already_is_said_when_it_turns_out_and_the_ingest_goes(stream, store):
    put(store, DATA)
    send(stream, pb.WRITE, ref="r", data=DATA)
    with pytest.raises(AlreadyExists):
        send(stream, pb.COMMIT, offset=10, expected=DIGEST)
    with pytest.raises(NotFound):
        store.status("r")


def test_a_stream_that_breaks_off_keeps_the_ingest(stream, store):
    send(stream, pb.WRITE, ref="r", data=DATA[:4])
    stream.close()
    again = WriteStream(store)
    assert send(again, pb.STAT, ref="r").offset == 4
    again.close()


def test_reading_gives_the_range_as_far_as_there_is_one(content, store):
    put(store, DATA)
    rpc = ContentRpc(content)

    def read(**fields):
        answers = map(
            pb.ReadContentResponse.FromString, rpc.Read(pb.ReadContentRequest(digest=DIGEST, **fields), Call())
        )
        return [(answer.offset, answer.data) for answer in answers]

    assert read() == [(0, DATA)]
    assert read(offset=8) == [(8, b"89")]
    assert read(offset=2, size=3) == [(2, b"234")]
    assert read(offset=8, size=100) == [(8, b"89")]
    assert read(offset=10) == []
    with pytest.raises(OutOfRange):
        read(offset=11)
    with pytest.raises(NotFound):
        list(rpc.Read(pb.ReadContentRequest(digest=digests.of(b"other")), Call()))
