"""What every content store must do (`contracts.content.ContentStore`), as a class of tests.

A back end's author writes a subclass whose fixture ``store`` gives a fresh, empty one::

    class TestMine(ContentStoreSuite):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(str(tmp_path))
"""

from __future__ import annotations

import hashlib
import threading

import pytest

from pycontainerd.contracts import digests
from pycontainerd.contracts.content import ContentInfo, ContentStore
from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)

DATA = b"".join(b"%d bottles of data\n" % number for number in range(20_000))
DIGEST = digests.of(DATA)
MISSING = "sha256:" + "0" * 64


def put(store: ContentStore, data: bytes, ref: str = "put") -> ContentInfo:
    """Write ``data`` as a blob."""
    writer = store.writer(ref, total=len(data))
    writer.write(data)
    return writer.commit(len(data), digests.of(data))


def read(store: ContentStore, digest: str) -> bytes:
    """The whole blob."""
    reader = store.open(digest)
    try:
        return reader.read_at(0, reader.size)
    finally:
        reader.close()


class ContentStoreSuite:
    """The whole suite.

    ``labels``: whether the store keeps labels (what is behind a namespace need not). ``readers_stay``: whether an open
    reader still reads a blob that was deleted (over an API it cannot).
    """

    labels = True
    readers_stay = True

    @pytest.fixture
    def store(self) -> ContentStore:
        """A fresh store with nothing in it, to be given by the subclass."""
        raise NotImplementedError("a subclass gives the fixture «store»")

    def test_what_was_committed_is_read(self, store: ContentStore) -> None:
        info = put(store, DATA)
        assert (info.digest, info.size) == (DIGEST, len(DATA))
        assert store.info(DIGEST) == info or store.info(DIGEST).size == len(DATA)
        reader = store.open(DIGEST)
        assert reader.size == len(DATA)
        assert reader.read_at(5, 10) == DATA[5:15]
        assert reader.read_at(len(DATA) - 3, 100) == DATA[-3:]
        assert reader.read_at(len(DATA) + 5, 1) == b""
        reader.close()
        assert list(store.statuses()) == []

    def test_an_empty_blob_is_a_blob(self, store: ContentStore) -> None:
        put(store, b"")
        assert read(store, digests.of(b"")) == b""

    def test_what_is_not_there_is_not_found(self, store: ContentStore) -> None:
        for use in (store.info, store.open, store.delete):
            with pytest.raises(NotFound):
                use(MISSING)
        for use_ref in (store.status, store.abort):
            with pytest.raises(NotFound):
                use_ref("missing")

    @pytest.mark.parametrize("digest", ["", "sha256:abc", "md5:" + "0" * 32, "sha256:../../etc/passwd", "x" * 5000])
    def test_what_is_no_digest_is_refused(self, store: ContentStore, digest: str) -> None:
        with pytest.raises((InvalidArgument, NotFound)):
            store.open(digest)

    @pytest.mark.parametrize("ref", ["", "x" * 20_000])
    def test_a_ref_without_sense_is_refused(self, store: ContentStore, ref: str) -> None:
        with pytest.raises(InvalidArgument):
            store.writer(ref)

    def test_an_ingest_goes_on_where_it_stopped(self, store: ContentStore) -> None:
        writer = store.writer("r", total=len(DATA))
        writer.write(DATA[:1000])
        assert writer.digest() == digests.of(DATA[:1000])
        writer.close()
        status = store.status("r")
        assert (status.ref, status.offset, status.total) == ("r", 1000, len(DATA))
        writer = store.writer("r", total=len(DATA))
        assert writer.status().offset == 1000
        writer.write(DATA[1000:])
        assert writer.commit(len(DATA), DIGEST).digest == DIGEST
        assert read(store, DIGEST) == DATA

    def test_truncation_starts_over(self, store: ContentStore) -> None:
        writer = store.writer("r")
        writer.write(b"wrong")
        writer.truncate(0)
        assert writer.status().offset == 0
        writer.write(DATA)
        assert writer.commit().digest == DIGEST
        with pytest.raises(ContainerdError):
            store.writer("s").truncate(5)

    def test_a_ref_has_one_writer_at_a_time(self, store: ContentStore) -> None:
        writer = store.writer("r")
        with pytest.raises(Unavailable):
            store.writer("r")
        writer.close()
        store.writer("r").close()

    def test_what_was_expected_of_a_blob_is_checked_and_the_bytes_are_kept(self, store: ContentStore) -> None:
        writer = store.writer("r")
        writer.write(DATA)
        with pytest.raises(FailedPrecondition):
            writer.commit(len(DATA), MISSING)
        writer.close()
        writer = store.writer("r")
        with pytest.raises(FailedPrecondition):
            writer.commit(len(DATA) + 1)
        writer.close()
        with pytest.raises(NotFound):
            store.info(MISSING)
        writer = store.writer("r")
        assert writer.commit(len(DATA), DIGEST).digest == DIGEST

    def test_a_closed_writer_writes_and_commits_nothing(self, store: ContentStore) -> None:
        writer = store.writer("r")
        writer.write(b"x")
        writer.close()
        writer.close()
        with pytest.raises(FailedPrecondition):
            writer.commit()

    @pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
    def test_blobs_have_digests_of_each_algorithm(self, store: ContentStore, algorithm: str) -> None:
        digest = f"{algorithm}:{hashlib.new(algorithm, DATA).hexdigest()}"
        writer = store.writer("r")
        writer.write(DATA)
        assert writer.commit(len(DATA), digest).digest == digest
        assert read(store, digest) == DATA

    def test_a_blob_can_be_committed_once_and_its_ingest_is_gone(self, store: ContentStore) -> None:
        put(store, DATA)
        with pytest.raises(AlreadyExists):
            store.writer("again", expected=DIGEST)
        for expected in (DIGEST, ""):
            writer = store.writer("again")
            writer.write(DATA)
            with pytest.raises(AlreadyExists):
                writer.commit(len(DATA), expected)
            writer.close()
            with pytest.raises(NotFound):
                store.status("again")
        assert read(store, DIGEST) == DATA

    def test_two_ingests_of_one_blob_end_as_one_blob(self, store: ContentStore) -> None:
        results: list[str] = []

        def ingest(number: int) -> None:
            try:
                put(store, DATA, f"r{number}")
                results.append("made")
            except AlreadyExists:
                results.append("there")

        threads = [threading.Thread(target=ingest, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        assert "made" in results
        assert read(store, DIGEST) == DATA
        assert [info.digest for info in store.walk()] == [DIGEST]

    def test_an_aborted_ingest_is_gone(self, store: ContentStore) -> None:
        writer = store.writer("r")
        writer.write(DATA)
        writer.close()
        store.abort("r")
        with pytest.raises(NotFound):
            store.status("r")
        writer = store.writer("r")
        assert writer.status().offset == 0
        writer.close()

    def test_ingests_are_listed_with_filters(self, store: ContentStore) -> None:
        for ref in ("layer-a", "layer-b", "config"):
            store.writer(ref).close()
        assert sorted(status.ref for status in store.statuses()) == ["config", "layer-a", "layer-b"]
        assert [status.ref for status in store.statuses(["ref==config"])] == ["config"]
        assert sorted(status.ref for status in store.statuses(["ref~=layer-.*"])) == ["layer-a", "layer-b"]

    def test_deleted_blobs_are_gone(self, store: ContentStore) -> None:
        put(store, DATA)
        reader = store.open(DIGEST)
        store.delete(DIGEST)
        if self.readers_stay:
            assert reader.read_at(0, 5) == DATA[:5]
        reader.close()
        with pytest.raises(NotFound):
            store.info(DIGEST)
        put(store, DATA)
        assert read(store, DIGEST) == DATA

    def test_walk_takes_filters(self, store: ContentStore) -> None:
        found = {put(store, data).digest: data for data in (b"one", b"two", b"three")}
        assert {info.digest for info in store.walk()} == set(found)
        one = digests.of(b"one")
        assert [info.digest for info in store.walk([f"digest=={one}"])] == [one]
        assert {info.digest for info in store.walk(["size==3"])} == {one, digests.of(b"two")}
        with pytest.raises(InvalidArgument):
            list(store.walk(["digest=="]))

    def test_labels_are_kept_changed_and_found(self, store: ContentStore) -> None:
        if not self.labels:
            return
        writer = store.writer("r")
        writer.write(DATA)
        writer.commit(labels={"one": "1", "two": "2"})
        assert dict(store.info(DIGEST).labels) == {"one": "1", "two": "2"}
        assert dict(store.update(DIGEST, {"one": "new"}, ["labels.one", "labels.two"]).labels) == {"one": "new"}
        assert dict(store.update(DIGEST, {"three": "3"}).labels) == {"three": "3"}
        assert [info.digest for info in store.walk(["labels.three==3"])] == [DIGEST]
        assert list(store.walk(["labels.one"])) == []
        with pytest.raises(InvalidArgument):
            store.update(DIGEST, {"k": "v" * 5000})
        with pytest.raises(InvalidArgument):
            store.update(DIGEST, {}, ["size"])
        with pytest.raises(NotFound):
            store.update(MISSING, {"a": "b"})
