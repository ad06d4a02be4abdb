"""Whatever is done to the files of a database, the next start has one that works, and says what was lost."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.metadata import recovery
from pycontainerd.metadata.copies import Copies
from pycontainerd.metadata.database import SqliteDatabase

COUNT = 300


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "metadata.db")


def add(database: SqliteDatabase, *numbers: int) -> None:
    def insert(db: sqlite3.Connection) -> None:
        for number in numbers:
            name, labels = f"n{number:05}", json.dumps({"about": "x" * 200})
            db.execute("INSERT INTO namespaces VALUES (?, ?)", (name, labels))
            db.execute("INSERT INTO images VALUES (?, 'i', '[\"m\", \"sha256:0\", 1, {}]', '{}', 1, 1)", (name,))

    database.write(insert)


def fill(path: str, *, copy: bool = True) -> None:
    """A database with `COUNT` namespaces, the last third of which is newer than its copy."""
    database = SqliteDatabase(path, pytest.fail)
    add(database, *range(COUNT * 2 // 3))
    if copy:
        Copies(path).take()
    add(database, *range(COUNT * 2 // 3, COUNT))
    database.close()


CRASHER = """
import os, sys
sys.path.insert(0, os.path.dirname(sys.argv[2]))
import test_damage
from pycontainerd.metadata.database import SqliteDatabase
database = SqliteDatabase(sys.argv[1], print)
for number in range(1000, 1050):
    test_damage.add(database, number)
os.kill(os.getpid(), 9)
"""


def crash(path: str) -> None:
    """Fifty more commits, and an end without notice: they are in the log only."""
    done = subprocess.run([sys.executable, "-c", CRASHER, path, __file__], check=False)
    assert done.returncode == -signal.SIGKILL


def opened(path: str) -> tuple[int, list[str]]:
    """Open it, use it; how many namespaces there are, and what was said."""
    said: list[str] = []
    database = SqliteDatabase(path, said.append)
    count = database.read(lambda db: db.execute("SELECT count(*) FROM namespaces").fetchone()[0])
    add(database, 99_999)
    for table, column in (("namespaces", "name"), ("images", "namespace")):
        database.write(lambda db, t=table, c=column: db.execute(f"DELETE FROM {t} WHERE {c} = 'n99999'"))
    assert database.read(lambda db: [row[0] for row in db.execute("PRAGMA integrity_check")]) == ["ok"]
    assert database.read(lambda db: db.execute("PRAGMA foreign_key_check").fetchall()) == []
    assert (database.damage is not None) == bool(said)
    database.close()
    return count, said


def report(path: str) -> dict[str, object]:
    (name,) = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".report")]
    return dict(json.loads(Path(os.path.dirname(path), name).read_text()))


def flip(path: str, source: random.Random, count: int) -> None:
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(count):
            at = source.randrange(size)
            file.seek(at)
            file.write(bytes([source.randrange(256)]))


def spoil(path: str, page: int, size: int = 4096) -> None:
    with open(path, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def zero(path: str) -> None:
    size = os.path.getsize(path)
    Path(path).write_bytes(b"\0" * size)


def directory(path: str) -> None:
    os.unlink(path)
    os.mkdir(path)
    Path(path, "inside").write_text("x")


GONE: dict[str, Callable[[str], object]] = {
    "zeroed": zero,
    "emptied": lambda path: os.truncate(path, 0),
    "garbage": lambda path: Path(path).write_bytes(random.Random(1).randbytes(50_000)),
    "a text": lambda path: Path(path).write_text("hello"),
    "deleted": os.unlink,
    "a directory": directory,
    "a fifo": lambda path: (os.unlink(path), os.mkfifo(path)),
}


@pytest.mark.parametrize("how", GONE)
def test_of_a_database_that_is_gone_the_copy_is_restored(path: str, how: str) -> None:
    fill(path)
    GONE[how](path)
    count, said = opened(path)
    assert count == COUNT * 2 // 3
    assert len(said) == 1
    assert "of" in said[0]
    assert "was restored" in said[0]
    told = report(path)
    assert told["report"][1:] == [
        f"{name}: 200 records came from the copy, 0 could be read from the damaged file; newer ones than the copy's may"
        " be lost, deleted ones may be back"
        for name in ("images", "namespaces")
    ]
    assert opened(path)[1] == []


@pytest.mark.parametrize("how", set(GONE) - {"deleted"})
def test_without_a_copy_there_is_an_empty_one_and_a_sentence(path: str, how: str) -> None:
    fill(path, copy=False)
    GONE[how](path)
    count, said = opened(path)
    assert count == 0
    assert "there was no sound copy" in said[0]


@pytest.mark.parametrize("seed", range(12))
def test_bytes_flipped_at_random_places(path: str, seed: int) -> None:
    """Each time it works after; what is lost is less than a page or two around each of the places."""
    source = random.Random(seed)
    fill(path)
    crash(path)
    flip(path, source, 1 + seed * 2)
    count, said = opened(path)
    assert count >= COUNT * 2 // 3 - 20
    assert opened(path)[1] == [], said


@pytest.mark.parametrize("seed", range(6))
def test_bytes_flipped_in_the_log(path: str, seed: int) -> None:
    fill(path)
    crash(path)
    flip(f"{path}-wal", random.Random(seed), 3)
    count, said = opened(path)
    assert count >= COUNT
    if count < COUNT + 50:
        assert "write-ahead log is damaged" in said[0]
        assert "lost" in report(path)["reason"]


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_database(path: str, part: float) -> None:
    fill(path)
    crash(path)
    os.truncate(path, int(os.path.getsize(path) * part))
    count, said = opened(path)
    assert count >= COUNT * 2 // 3
    assert len(said) == 1


def test_a_deleted_log_is_said_to_have_been_lost(path: str) -> None:
    fill(path)
    crash(path)
    os.unlink(f"{path}-wal")
    count, said = opened(path)
    assert count == COUNT
    assert "log is gone: commits since the last checkpoint are lost" in said[0]
    assert report(path)["kept_as"] == ""


def test_a_log_that_is_whole_loses_nothing(path: str) -> None:
    fill(path)
    crash(path)
    assert opened(path) == (COUNT + 50, [])


def test_what_can_be_read_of_a_damaged_one_is_newer_than_the_copy(path: str) -> None:
    """A damaged page of one table takes nothing from the others, and what was deleted in those stays deleted."""
    fill(path)
    database = SqliteDatabase(path, pytest.fail)
    database.write(lambda db: db.execute("DELETE FROM namespaces WHERE name = 'n00000'"))
    (page,) = database.read(lambda db: db.execute("SELECT rootpage FROM sqlite_master WHERE name='images'").fetchone())
    (size,) = database.read(lambda db: db.execute("PRAGMA page_size").fetchone())
    database.close()
    spoil(path, page, size)
    Path(f"{path}.lock").write_text("another boot")
    count, said = opened(path)
    assert count == COUNT - 1
    assert f"namespaces: all {COUNT - 1} records were read" in said[0]
    assert "images: 200 records came from the copy, 0 could be read" in said[0]


def test_a_damaged_copy_is_passed_over(path: str) -> None:
    fill(path)
    older = Copies(path).list()[0]
    newer = Copies(path).take()
    assert Copies(path).list() == [newer, older]
    flip(newer, random.Random(3), 400)
    zero(path)
    count, said = opened(path)
    assert count == COUNT * 2 // 3
    assert os.path.basename(older) in said[0]


def test_a_start_that_was_interrupted_while_it_replaced_the_database_is_repeated(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    crash(path)
    for page in range(3, os.path.getsize(path) // 4096, 2):
        spoil(path, page)
    for step in ("_replace", "salvage", "_skip_numbers"):
        with monkeypatch.context() as patch:
            patch.setattr(recovery, step, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                SqliteDatabase(path, lambda _: None)
    count, said = opened(path)
    assert count >= COUNT * 2 // 3
    assert "interrupted" in said[0]
    assert opened(path)[1] == []


def test_a_start_that_was_interrupted_before_it_told_what_was_lost_is_told_of(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    zero(path)
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "restored", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            SqliteDatabase(path, lambda _: None)
    count, said = opened(path)
    assert count == COUNT * 2 // 3
    assert "before it could say what was lost" in said[0]
    assert opened(path)[1] == []


def test_numbers_of_a_restored_database_were_never_used(path: str) -> None:
    database = SqliteDatabase(path, pytest.fail)
    database.write(lambda db: db.execute("INSERT INTO sequences VALUES ('snapshot', 64)"))
    Copies(path).take()
    database.write(lambda db: db.execute("UPDATE sequences SET value = 128"))
    database.close()
    zero(path)
    database = SqliteDatabase(path, lambda _: None)
    assert database.read(lambda db: db.execute("SELECT value FROM sequences").fetchone()[0]) > 128
    database.close()


def test_damage_that_shows_in_use_is_dealt_with_at_the_next_start(path: str) -> None:
    fill(path)
    said: list[str] = []
    database = SqliteDatabase(path, said.append)
    (page,) = database.read(lambda db: db.execute("SELECT rootpage FROM sqlite_master WHERE name='images'").fetchone())
    database.close()
    spoil(path, page)
    Path(f"{path}.lock").write_text(re.sub("[0-9a-f]{64}.*", "", Path(f"{path}.lock").read_text()))
    database = SqliteDatabase(path, said.append)
    assert said == []  # an orderly end is believed where the file is too large to be looked at
    with pytest.raises(Exception, match="restart the daemon"):
        database.read(lambda db: db.execute("SELECT * FROM images").fetchall())
    database.close()
    assert "the next start of the daemon replaces it" in said[0]
    assert "is kept as" in opened(path)[1][0]


@pytest.mark.root
def test_a_file_that_cannot_be_written_is_read(path: str) -> None:
    fill(path)
    made = subprocess.run(["chattr", "+i", path], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("this file system has no immutable files")
    try:
        said: list[str] = []
        database = SqliteDatabase(path, said.append)
        assert database.read(lambda db: db.execute("SELECT count(*) FROM namespaces").fetchone()) == (COUNT,)
        with pytest.raises(FailedPrecondition, match="read-only"):
            add(database, 1000)
        database.close()
        assert "cannot be written" in said[0]
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert opened(path)[0] == COUNT


@pytest.mark.root
def test_on_a_read_only_file_system_it_is_read_with_its_log(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("root mounts")
    inside = tmp_path / "m"
    inside.mkdir()
    path = str(inside / "metadata.db")
    fill(path)
    crash(path)
    subprocess.run(["mount", "--bind", inside, inside], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", inside], check=True)
        said: list[str] = []
        database = SqliteDatabase(path, said.append)
        assert database.read(lambda db: db.execute("SELECT count(*) FROM namespaces").fetchone()) == (COUNT + 50,)
        with pytest.raises(FailedPrecondition):
            add(database, 1)
        scratch = database._opened.scratch
        database.close()
        assert not os.path.exists(scratch)
    finally:
        subprocess.run(["umount", inside], check=True)


def test_the_quarantine_is_whole(path: str) -> None:
    """With its log, so that better tools than ours find all that there was."""
    fill(path)
    crash(path)
    before = {suffix: Path(path + suffix).read_bytes() for suffix in ("", "-wal")}
    os.truncate(path, 5000)
    opened(path)
    (aside,) = recovery._asides(path)
    assert Path(aside).read_bytes() == before[""][:5000]
    assert Path(f"{aside}-wal").read_bytes() == before["-wal"]


@pytest.mark.parametrize("seed", range(8))
def test_what_rots_while_no_daemon_runs_is_found(path: str, seed: int) -> None:
    """An orderly end says what the file was."""
    fill(path)
    before = Path(path).read_bytes()
    flip(path, random.Random(seed), 300)
    assert Path(path).read_bytes() != before
    count, said = opened(path)
    assert count >= COUNT * 2 // 3 - 20
    assert said
    assert opened(path)[1] == []


def test_bits_that_change_by_themselves_cost_nothing_where_the_last_end_left_a_copy(path: str) -> None:
    """Nothing that SQLite could see: another letter in a name. The file's times say that nobody wrote it."""
    database = SqliteDatabase(path, pytest.fail, copies=3600)
    add(database, 1, 2, 3)
    database.close()
    data, status = Path(path).read_bytes(), os.stat(path)
    Path(path).write_bytes(data.replace(b"n00002", b"n00007"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    said: list[str] = []
    database = SqliteDatabase(path, said.append)
    names = database.read(lambda db: [row[0] for row in db.execute("SELECT name FROM namespaces")])
    database.close()
    assert names == ["n00001", "n00002", "n00003"]
    assert "nobody has written to it" in said[0]
    assert "nothing is lost" in said[0]


def test_a_database_that_somebody_has_put_there_is_taken_as_it_is(path: str) -> None:
    database = SqliteDatabase(path, pytest.fail, copies=3600)
    add(database, 1)
    database.close()
    older = Path(path).read_bytes()
    database = SqliteDatabase(path, pytest.fail, copies=3600)
    add(database, 2)
    database.close()
    os.unlink(path)
    Path(path).write_bytes(older)
    assert opened(path) == (1, [])


def test_values_that_make_no_sense_are_damage(path: str) -> None:
    fill(path)
    data = Path(path).read_bytes()
    Path(path).write_bytes(data.replace(b'["m", "sha256:0"', b'["m", \xff\xfe"sha256:'))
    count, said = opened(path)
    assert count == COUNT
    assert "records of its table images make no sense" in said[0]
