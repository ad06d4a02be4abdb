"""Damaged, old, new and half-written databases."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pycontainerd.metadata import recovery
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.metadata.salvage import nonsense
from pycontainerd.sys.boot import boot_id

LABELS = '{"about": "' + "x" * 500 + '"}'


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "metadata.db")


def fill(path: str) -> None:
    database = SqliteDatabase(path, pytest.fail)
    for number in range(200):
        database.write(lambda db, n=number: db.execute("INSERT INTO namespaces VALUES (?, ?)", (f"n{n}", LABELS)))
    database.close()


def damage(path: str, offset: int, size: int) -> None:
    with open(path, "r+b") as handle:
        handle.seek(offset)
        handle.write(b"\xa5" * size)


def mark(path: str, boot: str = "another boot") -> None:
    Path(f"{path}.lock").write_text(boot)


def asides(path: str) -> list[str]:
    names = [name for name in os.listdir(os.path.dirname(path)) if ".damaged-" in name]
    return sorted(name for name in names if not name.endswith((".report", "-wal", "-shm")))


def works(path: str, said: list[str]) -> None:
    database = SqliteDatabase(path, said.append)
    assert database.write(lambda db: db.execute("INSERT INTO namespaces (name) VALUES ('x')").rowcount) == 1
    database.close()


def test_damage_in_the_middle_is_found_after_an_unclean_end(path: str) -> None:
    fill(path)
    mark(path)
    damage(path, 16384, 8192)
    said: list[str] = []
    works(path, said)
    assert len(said) == 1
    assert "is damaged" in said[0]
    (aside,) = asides(path)
    assert aside in said[0]
    assert os.stat(os.path.join(os.path.dirname(path), aside)).st_size > 50_000


def test_what_is_no_database_at_all_is_moved_aside_even_after_a_clean_end(path: str) -> None:
    fill(path)
    damage(path, 0, 4096)
    said: list[str] = []
    works(path, said)
    assert "not a database" in said[0]
    assert len(asides(path)) == 1


def test_a_truncated_file_is_moved_aside(path: str) -> None:
    fill(path)
    mark(path)
    os.truncate(path, 20_000)
    said: list[str] = []
    works(path, said)
    assert len(said) == len(asides(path)) == 1


def test_a_second_damage_does_not_overwrite_the_first_one_put_aside(path: str) -> None:
    for _ in range(3):
        Path(path).write_bytes(b"nonsense" * 1000)
        works(path, [])
    assert len(asides(path)) == 3


def test_a_sound_file_is_kept_after_an_unclean_end(path: str) -> None:
    fill(path)
    mark(path)
    database = SqliteDatabase(path, pytest.fail)
    assert database.read(lambda db: db.execute("SELECT count(*) FROM namespaces").fetchone()) == (200,)
    database.close()


def checks(path: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether opening ``path`` checks its integrity."""
    seen: list[bool] = []
    genuine = recovery._sound
    monkeypatch.setattr(
        recovery, "_sound", lambda p, *, check, sync: seen.append(check) or genuine(p, check=check, sync=sync)
    )
    SqliteDatabase(path, pytest.fail).close()
    return seen[0]


def test_it_is_checked_only_after_an_unclean_end(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path)
    assert not checks(path, monkeypatch)
    mark(path)
    assert checks(path, monkeypatch)
    assert not checks(path, monkeypatch)


def test_a_big_one_is_checked_only_when_the_machine_went_down(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path)
    monkeypatch.setattr(recovery, "CHECK_ALWAYS", 1000)
    mark(path, boot_id())
    assert not checks(path, monkeypatch)
    mark(path)
    assert checks(path, monkeypatch)


def test_a_failed_open_lets_go_of_the_lock_and_is_looked_at_next_time(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "migrate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            SqliteDatabase(path, pytest.fail)
    assert checks(path, monkeypatch)


WRITER = """
import sys, threading
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.metadata.salvage import nonsense
from pycontainerd.sys.boot import boot_id
database = SqliteDatabase(sys.argv[1], print)
def work(thread):
    number = 0
    while True:
        name = f"{thread}-{number}"
        database.write(lambda db: db.execute("INSERT INTO namespaces (name) VALUES (?)", (name,)))
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()
        number += 1
for thread in range(6):
    threading.Thread(target=work, args=(thread,)).start()
"""


def test_what_was_acknowledged_survives_kill_9(path: str) -> None:
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(150)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().split("\n")[:-1]
        child.wait()
        child.stdout.close()
        database = SqliteDatabase(path, pytest.fail)
        found = set(database.read(lambda db: [row[0] for row in db.execute("SELECT name FROM namespaces")]))
        database.write(lambda db: db.execute("DELETE FROM namespaces"))
        database.close()
        assert set(acknowledged) - found == set()
        assert len(acknowledged) >= 150


def test_whatever_clients_may_store_is_no_damage(tmp_path):
    path = str(tmp_path / "metadata.db")
    database = SqliteDatabase(path, pytest.fail, sync=False)

    def fill(db):
        for odd in ("plain", "a\0b", "{", '"', "ünï", "\n"):
            db.execute("INSERT INTO snapshot_commits VALUES (?,?,?,?,?,?,?)", (odd, odd, odd, odd, odd, odd, "{}"))
            db.execute("INSERT INTO snapshots VALUES (?,?,?,?,?,?,?,?)", (odd, odd, odd, odd, odd, "{}", 1, 2))
            db.execute("INSERT INTO leases VALUES (?,?,?,?)", (odd, odd, "{}", 1))
            db.execute("INSERT INTO lease_resources VALUES (?,?,?,?)", (odd, odd, odd, odd))
            db.execute("INSERT INTO ingests VALUES (?,?,?,?,?)", (odd, odd, 1, odd, None))
            db.execute(
                "INSERT INTO containers VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (odd, odd, '{"k":"v"}', odd, odd, b"\xff", None, odd, odd, "{}", odd, 1, 2),
            )

    database.write(fill)
    database.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert nonsense(connection) == ""
