"""Content in namespaces: who sees what, sharing, leases, and nothing left on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.content.content import Content
from pycontainerd.content.local import LocalStore
from pycontainerd.contracts import digests
from pycontainerd.contracts.errors import Aborted, AlreadyExists, ContainerdError, FailedPrecondition, NotFound
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.testing.content_stores import DATA, DIGEST, put, read


class Events:
    def __init__(self):
        self.seen = []

    def publish(self, namespace, event):
        self.seen.append((namespace, type(event).__name__))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    yield opened
    opened.close()


@pytest.fixture
def content(tmp_path: Path, database) -> Content:
    return Content(LocalStore(str(tmp_path / "store")), database, Events())


@pytest.fixture
def one(content):
    return content.scoped(Scope("one"))


@pytest.fixture
def two(content):
    return content.scoped(Scope("two"))


def test_a_blob_of_one_namespace_is_not_seen_in_another(one, two):
    put(one, DATA)
    assert list(two.walk()) == []
    for use in (two.info, two.open, two.delete):
        with pytest.raises(NotFound):
            use(DIGEST)


def test_a_namespace_that_can_name_a_blob_gets_it_without_sending_it(one, two):
    put(one, DATA)
    writer = two.writer("r", total=len(DATA), expected=DIGEST)
    assert writer.status().offset == len(DATA)
    (status,) = two.statuses()
    assert (status.ref, status.offset, status.expected) == ("r", len(DATA), DIGEST)
    assert writer.commit(len(DATA), DIGEST, {"a": "b"}).labels == {"a": "b"}
    assert list(two.statuses()) == []
    assert read(two, DIGEST) == DATA
    assert dict(one.info(DIGEST).labels) == {}


def test_a_blob_stays_until_its_last_namespace_deletes_it(content, one, two):
    put(one, DATA)
    two.writer("r", expected=DIGEST).commit()
    one.delete(DIGEST)
    assert read(two, DIGEST) == DATA
    two.delete(DIGEST)
    assert list(content.store.walk()) == []


def test_an_announced_size_that_is_not_the_blobs_is_not_shared(one, two):
    put(one, DATA)
    writer = two.writer("r", total=5, expected=DIGEST)
    assert writer.status().offset == 0
    writer.close()


def test_a_shared_ingest_that_is_truncated_becomes_one_of_its_own(one, two):
    put(one, DATA)
    writer = two.writer("r", expected=DIGEST)
    with pytest.raises(FailedPrecondition):
        writer.write(b"more")
    writer.truncate(0)
    writer.write(b"else")
    assert writer.commit().digest == digests.of(b"else")
    with pytest.raises(NotFound):
        two.info(DIGEST)


def test_a_shared_ingest_can_be_aborted_and_the_blob_stays(one, two):
    put(one, DATA)
    two.writer("r", expected=DIGEST).close()
    two.abort("r")
    assert list(two.statuses()) == []
    assert read(one, DIGEST) == DATA


def test_one_ref_in_two_namespaces_is_two_ingests(one, two):
    first, second = one.writer("r"), two.writer("r")
    first.write(b"1")
    second.write(b"22")
    assert (one.status("r").offset, two.status("r").offset) == (1, 2)
    first.close()
    second.close()


def test_deleting_and_sharing_at_once_never_leaves_a_blob_without_bytes(one, two):
    for _ in range(20):
        put(one, DATA)
        thread = threading.Thread(target=one.delete, args=(DIGEST,))
        thread.start()
        writer = two.writer("r", expected=DIGEST)
        if writer.status().offset == 0:
            writer.write(DATA)
        writer.commit(len(DATA), DIGEST)
        thread.join()
        for info in list(two.walk()):
            assert read(two, info.digest) == DATA
            two.delete(info.digest)


def test_a_collection_does_not_take_the_bytes_of_a_blob_that_a_writer_begins_to_share(content, one, two, monkeypatch):
    put(one, DATA)
    content.database.write(lambda db: db.execute("DELETE FROM blobs"))  # collected: only the file is still to go
    collections = []
    found = content.store.info

    def info_and_then_a_collection(digest):
        info = found(digest)
        if not collections:
            collections.append(threading.Thread(target=content.sweeper().discard, args=([DIGEST], [])))
            collections[0].start()
            collections[0].join(0.3)
        return info

    monkeypatch.setattr(content.store, "info", info_and_then_a_collection)
    writer = two.writer("r", expected=DIGEST)
    for thread in collections:
        thread.join()
    if writer.status().offset == 0:
        writer.write(DATA)
    writer.commit(len(DATA), DIGEST)
    assert read(two, DIGEST) == DATA


def test_an_aborted_writer_is_told_so(one):
    writer = one.writer("r")
    one.abort("r")
    with pytest.raises(Aborted):
        writer.write(b"x")
    writer.close()


def test_a_lease_holds_what_is_made_in_its_name(content, database):
    database.write(lambda db: db.execute("INSERT INTO leases VALUES ('one','l','{}',0)"))
    database.write(lambda db: db.execute("INSERT OR IGNORE INTO namespaces (name) VALUES ('one')"))
    leased = content.scoped(Scope("one", "l"))

    def held():
        return database.read(lambda db: db.execute("SELECT type, id FROM lease_resources ORDER BY type").fetchall())

    writer = leased.writer("r")
    assert held() == [("ingests", "r")]
    writer.write(DATA)
    writer.commit()
    assert held() == [("content", DIGEST)]
    with pytest.raises(AlreadyExists):
        leased.writer("s", expected=DIGEST)
    leased.delete(DIGEST)
    assert held() == []


def test_an_ingest_without_a_lease_expires_and_one_with_a_lease_does_not(content, database):
    database.write(lambda db: db.execute("INSERT INTO leases VALUES ('one','l','{}',0)"))
    content.scoped(Scope("one")).writer("free").close()
    content.scoped(Scope("one", "l")).writer("leased").close()
    found = dict(database.read(lambda db: db.execute("SELECT ref, expires FROM ingests").fetchall()))
    assert found["leased"] is None
    assert found["free"] > 0


def test_the_files_lie_where_the_go_containerd_has_them(tmp_path, content, one):
    put(one, DATA)
    hexadecimal = DIGEST.partition(":")[2]
    blob = tmp_path / "store" / "blobs" / "sha256" / hexadecimal
    assert blob.read_bytes() == DATA
    assert blob.stat().st_mode & 0o777 == 0o444
    writer = one.writer("r", total=7)
    writer.write(b"abc")
    writer.close()
    (ingest,) = (tmp_path / "store" / "ingest").iterdir()
    assert sorted(os.listdir(ingest)) == ["data", "ref", "startedat", "total", "updatedat"]
    assert (ingest / "ref").read_text().endswith("/r")
    assert (ingest / "total").read_text() == "7"
    one.abort("r")
    assert os.listdir(tmp_path / "store" / "ingest") == []


def test_what_is_no_ingest_or_blob_on_disk_is_passed_over(tmp_path, content):
    (tmp_path / "store/ingest/strange").mkdir()
    (tmp_path / "store/ingest/file").touch()
    (tmp_path / "store/blobs/sha256/strange").touch()
    (tmp_path / "store/blobs/file").touch()
    assert list(content.store.walk()) == []
    assert list(content.store.statuses()) == []


def test_events_are_told_once(content, one):
    put(one, DATA)
    with pytest.raises(ContainerdError):
        put(one, DATA)
    one.delete(DIGEST)
    assert content.events.seen == [("one", "ContentCreate"), ("one", "ContentDelete")]


def test_under_isolation_a_namespace_gets_a_blob_only_by_sending_it_or_from_one_that_shares(tmp_path, database):
    content = Content(LocalStore(str(tmp_path / "isolated")), database, Events(), isolated=True)
    one, two = content.scoped(Scope("one")), content.scoped(Scope("two"))
    put(one, DATA)
    writer = two.writer("r", total=len(DATA), expected=DIGEST)
    assert writer.status().offset == 0
    writer.write(DATA)
    assert writer.commit(len(DATA), DIGEST).digest == DIGEST
    label = '{"containerd.io/namespace.shareable": "true"}'
    database.write(lambda db: db.execute("UPDATE namespaces SET labels = ? WHERE name = 'one'", (label,)))
    shared = content.scoped(Scope("three")).writer("r", expected=DIGEST)
    assert shared.status().offset == len(DATA)
    shared.close()
