"""The reserve for a full disk; tests/integration/test_full_disk.py fills one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import ResourceExhausted
from pycontainerd.metadata.ballast import Ballast
from pycontainerd.metadata.database import SqliteDatabase

SIZE = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ballast")


def test_it_really_takes_the_space(path: str) -> None:
    ballast = Ballast(path, SIZE)
    assert not ballast.held
    assert ballast.take()
    assert os.stat(path).st_blocks * 512 >= SIZE
    assert ballast.release()
    assert not os.path.exists(path)
    assert not ballast.release()


def test_one_of_an_earlier_run_is_kept_and_half_of_one_is_not_counted(path: str) -> None:
    Ballast(path, SIZE).take()
    assert Ballast(path, SIZE).held
    os.truncate(path, SIZE // 2)
    ballast = Ballast(path, SIZE)
    assert not ballast.held
    assert ballast.take()
    assert os.stat(path).st_size == SIZE


def test_it_is_not_taken_where_there_is_no_room(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = Ballast(path, SIZE)
    monkeypatch.setattr(Ballast, "_free", lambda _: SIZE)
    assert not ballast.take()
    assert not os.path.exists(path)
    assert not ballast.full()  # until a write finds it so


def test_it_is_taken_only_where_as_much_again_stays_free(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = Ballast(path, SIZE)
    ballast.release()
    assert ballast.full()
    monkeypatch.setattr(Ballast, "_free", lambda _: 1 << 40)
    room = SIZE

    def allocate(at: str, size: int) -> None:
        if size > room:
            raise OSError(28, "No space left on device")
        Path(at).write_bytes(b"x" * size)

    monkeypatch.setattr(Ballast, "_allocate", staticmethod(allocate))
    assert not ballast.take()
    assert ballast.full()
    room = 2 * SIZE
    assert ballast.take()
    assert not ballast.full()
    assert os.stat(path).st_size == SIZE


def test_without_a_size_nothing_is_ever_full(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ballast, "_free", lambda _: 0)
    ballast = Ballast(path, 0)
    assert not ballast.take()
    assert not ballast.full()
    assert not ballast.relieve()


def add(db: sqlite3.Connection) -> int:
    return db.execute("INSERT INTO namespaces VALUES ('x', ?)", ("x" * 100_000,)).rowcount


def test_a_full_disk_refuses_what_grows_and_does_what_frees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = SqliteDatabase(str(tmp_path / "metadata.db"), [].append, ballast=SIZE)
    assert database._ballast.take()
    (pages,) = database.write(lambda db: db.execute("PRAGMA page_count").fetchone())
    database.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    genuine = Ballast.release

    def release(ballast: Ballast) -> bool:
        """What giving back the reserve does: there is room again, if not much."""
        database._writer.execute("PRAGMA max_page_count = 100000").fetchone()
        return genuine(ballast)

    monkeypatch.setattr(Ballast, "release", release)
    monkeypatch.setattr(Ballast, "_free", lambda _: SIZE)
    with pytest.raises(ResourceExhausted, match="the disk is full: removing"):
        database.write(add)
    assert not database._ballast.held
    with pytest.raises(ResourceExhausted, match="no space left"):
        database.write(lambda db: 1)
    assert database.write(add, frees=True) == 1
    database.close()


def test_a_write_that_frees_is_done_although_it_is_the_one_that_finds_the_disk_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SqliteDatabase(str(tmp_path / "metadata.db"), [].append, ballast=SIZE)
    assert database._ballast.take()
    database.write(lambda db: db.execute("PRAGMA max_page_count = 1").fetchone())
    genuine = Ballast.release

    def release(ballast: Ballast) -> bool:
        database._writer.execute("PRAGMA max_page_count = 100000").fetchone()
        return genuine(ballast)

    monkeypatch.setattr(Ballast, "release", release)
    assert database.write(add, frees=True) == 1
    database.close()
