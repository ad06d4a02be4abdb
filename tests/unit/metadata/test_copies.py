"""Copies of a database in use, and who takes them."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import DataLoss
from pycontainerd.metadata import copies as module
from pycontainerd.metadata import keeper
from pycontainerd.metadata.copies import Copies, verify
from pycontainerd.metadata.database import SqliteDatabase


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "metadata.db")


@pytest.fixture
def database(path: str) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(path, pytest.fail)
    yield opened
    opened.close()


def add(database: SqliteDatabase, name: str) -> None:
    database.write(lambda db: db.execute("INSERT INTO namespaces VALUES (?, ?)", (name, "x" * 2000)))


def count(path: str) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM namespaces").fetchone()[0])
    finally:
        connection.close()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_copy_has_what_was_there_and_is_one_file(database: SqliteDatabase, path: str) -> None:
    add(database, "a")
    copy = Copies(path).take()
    add(database, "b")
    assert count(copy) == 1
    assert sorted(os.listdir(os.path.dirname(path))) == sorted(
        ["metadata.db", "metadata.db-shm", "metadata.db-wal", "metadata.db.lock", os.path.basename(copy)]
    )


def test_the_newest_are_kept(database: SqliteDatabase, path: str) -> None:
    copies = Copies(path, keep=2)
    taken = []
    for number in range(4):
        add(database, f"n{number}")
        taken.append(copies.take())
    assert copies.list() == taken[:1:-1]
    assert copies.best() == taken[-1]


def test_a_copy_ends_although_others_go_on_writing(database: SqliteDatabase, path: str, monkeypatch) -> None:
    """It is a view of one moment, however long it takes."""
    for number in range(200):
        add(database, f"n{number}")
    monkeypatch.setattr(module, "_PAGES", 5)
    end = threading.Event()

    def write() -> None:
        number = 0
        while not end.is_set():
            add(database, f"m{number}")
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        copy = Copies(path).take()
    finally:
        end.set()
        thread.join()
    assert 200 <= count(copy) < count(path)


def test_a_damaged_database_gives_no_copy_and_the_good_ones_stay(path: str) -> None:
    database = SqliteDatabase(path, pytest.fail)
    for number in range(100):
        add(database, f"n{number}")
    good = Copies(path, keep=1).take()
    database.close()
    with open(path, "r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xa5" * 4096)
    with pytest.raises(DataLoss):
        Copies(path, keep=1).take()
    assert Copies(path).list() == [good]
    assert not [name for name in os.listdir(os.path.dirname(path)) if ".part" in name]


def test_what_an_interrupted_copy_left_is_swept(database: SqliteDatabase, path: str) -> None:
    left = f"{path}.copy-20200101T000000-000000.part"
    Path(left).write_bytes(b"half")
    copies = Copies(path)
    assert copies.list() == []
    copies.take()
    assert not os.path.exists(left)


def test_names_sort_by_age_even_when_the_clock_goes_back(database: SqliteDatabase, path: str, monkeypatch) -> None:
    copies = Copies(path)
    monkeypatch.setattr(module.time, "time_ns", lambda: 2_000_000_000_000_000_000)
    first = copies.take()
    monkeypatch.setattr(module.time, "time_ns", lambda: 1_000_000_000_000_000_000)
    second = copies.take()
    assert copies.list() == [second, first]


@pytest.mark.parametrize("name", ["with space", "what?x=1", "a#b", "100%25", "üñ"])
def test_whatever_the_directory_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "metadata.db"
    path.parent.mkdir()
    database = SqliteDatabase(str(path), pytest.fail, copies=3600)
    add(database, "a")
    database.close()
    (copy,) = Copies(str(path)).list()
    assert Path(copy).parent == path.parent
    assert sorted(os.listdir(tmp_path)) == [name]


def test_a_copy_that_is_no_database_of_ours_is_not_sound(tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE something (x)")
    connection.commit()
    connection.close()
    with pytest.raises(DataLoss):
        verify(other)


def test_the_daemon_copies_what_has_changed_and_nothing_else(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "TICK", 0.01)
    database = SqliteDatabase(path, pytest.fail, copies=0.02)
    copies = Copies(path)
    add(database, "a")
    until(copies.list)
    until(lambda: count(copies.list()[0]) == 1)
    before = copies.list()
    time.sleep(0.2)
    assert copies.list() == before
    database.close()
    assert copies.list() == before


def test_a_clean_end_leaves_a_copy(path: str) -> None:
    database = SqliteDatabase(path, pytest.fail, copies=3600)
    add(database, "a")
    database.close()
    assert count(Copies(path).list()[0]) == 1


def test_damage_that_a_copy_shows_is_said_and_repaired_by_the_next_start(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SqliteDatabase(path, pytest.fail, copies=3600)
    for number in range(100):
        add(database, f"n{number}")
    database.close()
    monkeypatch.setattr(keeper, "TICK", 0.01)
    said: list[str] = []
    database = SqliteDatabase(path, said.append, copies=0.02)
    with open(path, "r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xa5" * 4096)
    add(database, "zzz")
    until(lambda: said)
    database.close()
    assert "does not pass its check" in said[0]
    database = SqliteDatabase(path, said.append)
    assert database.damage is not None
    database.close()
