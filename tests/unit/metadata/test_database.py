"""The database: grouped commits, each caller's failure its own."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, Internal, ResourceExhausted, Unavailable
from pycontainerd.metadata import recovery
from pycontainerd.metadata.database import BATCH, READERS, SqliteDatabase
from pycontainerd.metadata.turns import Turns, Work


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "metadata.db")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def database(path: str, said: list[str]) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(path, said.append)
    yield opened
    opened.close()


def add(name: str):
    return lambda db: db.execute("INSERT INTO namespaces (name) VALUES (?)", (name,)).rowcount


def names(database: SqliteDatabase) -> list[str]:
    return database.read(lambda db: [row[0] for row in db.execute("SELECT name FROM namespaces ORDER BY name")])


def test_what_was_written_is_read(database: SqliteDatabase) -> None:
    assert database.write(add("a")) == 1
    assert names(database) == ["a"]


def test_what_was_written_is_there_after_a_restart(path: str) -> None:
    first = SqliteDatabase(path, pytest.fail)
    first.write(add("a"))
    first.close()
    second = SqliteDatabase(path, pytest.fail)
    assert names(second) == ["a"]
    second.close()


class _Held:
    """Keeps the writer busy until released, so that what is queued meanwhile becomes one batch."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.release = threading.Event()
        began = threading.Event()

        def wait(db: sqlite3.Connection) -> None:
            began.set()
            self.release.wait(30)

        self.thread = threading.Thread(target=database.write, args=(wait,))
        self.thread.start()
        began.wait(30)


def together(database: SqliteDatabase, functions: list) -> list[object]:
    """Results or errors of ``functions``, written from a thread each, in one batch, in order."""
    held = _Held(database)
    outcomes: list[object] = [None] * len(functions)

    def run(index: int) -> None:
        try:
            outcomes[index] = database.write(functions[index])
        except BaseException as exc:
            outcomes[index] = exc

    threads = []
    for index in range(len(functions)):
        before = database._turns.waiting
        thread = threading.Thread(target=run, args=(index,))
        thread.start()
        threads.append(thread)
        while database._turns.waiting == before:
            pass
    held.release.set()
    for thread in [*threads, held.thread]:
        thread.join()
    return outcomes


def test_concurrent_writes_share_a_commit(database: SqliteDatabase) -> None:
    statements: list[str] = []
    database._writer.set_trace_callback(statements.append)
    assert together(database, [add(f"n{number}") for number in range(20)]) == [1] * 20
    assert statements.count("COMMIT") == 2  # that of the function that held the writer, and one for the twenty
    assert len(names(database)) == 20


def test_a_batch_is_bounded(database: SqliteDatabase) -> None:
    statements: list[str] = []
    database._writer.set_trace_callback(statements.append)
    together(database, [add(f"n{number}") for number in range(BATCH + 5)])
    assert statements.count("COMMIT") == 3
    assert len(names(database)) == BATCH + 5


def test_an_exception_undoes_its_own_function_only(database: SqliteDatabase) -> None:
    def fail(db: sqlite3.Connection) -> None:
        add("bad")(db)
        raise KeyError("mine")

    outcomes = together(database, [add("a"), fail, add("b")])
    assert isinstance(outcomes[1], KeyError)
    assert names(database) == ["a", "b"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_even_an_exit_is_its_callers_and_the_writer_lives_on(
    database: SqliteDatabase, error: type[BaseException]
) -> None:
    def fail(db: sqlite3.Connection) -> None:
        raise error

    with pytest.raises(error):
        database.write(fail)
    assert database.write(add("a")) == 1


def test_a_mistake_in_sql_does_not_touch_the_neighbours(database: SqliteDatabase) -> None:
    outcomes = together(database, [add("a"), lambda db: db.execute("SELECT nonsense"), add("b")])
    assert isinstance(outcomes[1], sqlite3.OperationalError)
    assert names(database) == ["a", "b"]


def test_nobody_is_told_anything_before_the_commit(database: SqliteDatabase) -> None:
    """The second add fails because of the first; when the commit then fails, neither answer holds."""
    inner = database._writer
    commits = 0

    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

        def execute(self, sql: str, *args: object) -> object:
            nonlocal commits
            if sql == "COMMIT" and (commits := commits + 1) == 2:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return inner.execute(sql, *args)

    held = _Held(database)
    outcomes: list[BaseException] = []

    def run() -> None:
        try:
            database.write(add("same"))
        except BaseException as exc:
            outcomes.append(exc)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    while database._turns.waiting < 2:
        pass
    database._writer = Broken()  # type: ignore[assignment]
    held.release.set()
    for thread in threads:
        thread.join()
    database._writer = inner
    assert [type(error) for error in outcomes] == [ResourceExhausted, ResourceExhausted]
    with pytest.raises(ResourceExhausted):
        raise outcomes[0]
    held.thread.join()
    assert names(database) == []


def test_a_full_disk_fails_the_write_and_not_the_database(database: SqliteDatabase) -> None:
    (pages,) = database.write(lambda db: db.execute("PRAGMA page_count").fetchone())
    database.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    with pytest.raises(ResourceExhausted, match="free some disk space"):
        database.write(lambda db: db.execute("INSERT INTO namespaces VALUES ('big', ?)", ("x" * 100_000,)))
    assert database.write(add("small")) == 1
    assert names(database) == ["small"]


def test_a_write_within_a_write_is_refused_instead_of_waiting_for_ever(database: SqliteDatabase) -> None:
    with pytest.raises(Internal):
        database.write(lambda db: database.write(add("a")))


def test_a_reader_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(ContainerdError):
        database.read(add("a"))
    assert names(database) == []


def test_a_read_is_a_consistent_view(database: SqliteDatabase) -> None:
    def look(db: sqlite3.Connection) -> tuple[int, int]:
        (before,) = db.execute("SELECT count(*) FROM namespaces").fetchone()
        database.write(add("meanwhile"))
        (after,) = db.execute("SELECT count(*) FROM namespaces").fetchone()
        return before, after

    assert database.read(look) == (0, 0)
    assert names(database) == ["meanwhile"]


def test_an_exception_in_a_read_leaves_the_connection_usable(database: SqliteDatabase) -> None:
    for _ in range(READERS * 2):
        with pytest.raises(ZeroDivisionError):
            database.read(lambda db: db.execute("SELECT 1") and 1 / 0)
    assert len(database._readers) == 1
    assert names(database) == []


def test_idle_read_connections_are_bounded(database: SqliteDatabase) -> None:
    barrier = threading.Barrier(READERS + 4)
    threads = [threading.Thread(target=database.read, args=(lambda db: barrier.wait(30),)) for _ in range(READERS + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database._readers) == READERS


def test_closing_finishes_what_is_queued(path: str) -> None:
    database = SqliteDatabase(path, pytest.fail)
    held = _Held(database)
    threads = [threading.Thread(target=database.write, args=(add(f"n{number}"),)) for number in range(10)]
    for thread in threads:
        thread.start()
    while database._turns.waiting < 10:
        pass
    closer = threading.Thread(target=database.close)
    closer.start()
    held.release.set()
    for thread in [*threads, held.thread, closer]:
        thread.join()
    again = SqliteDatabase(path, pytest.fail)
    assert len(names(again)) == 10
    again.close()


def test_a_closed_database_says_so(path: str) -> None:
    database = SqliteDatabase(path, pytest.fail)
    database.close()
    database.close()
    with pytest.raises(Unavailable):
        database.write(add("a"))
    with pytest.raises(Unavailable):
        names(database)


def test_foreign_keys_hold(database: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        database.write(lambda db: db.execute("INSERT INTO lease_resources VALUES ('n', 'none', 'content', 'x')"))


def test_it_syncs_every_commit_unless_told_not_to(database: SqliteDatabase, tmp_path: Path) -> None:
    assert database.write(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    assert database.write(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
    fast = SqliteDatabase(str(tmp_path / "fast.db"), pytest.fail, sync=False)
    assert fast.write(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (0,)
    fast.close()


def test_two_daemons_cannot_have_one_database(
    database: SqliteDatabase, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery.Claim.__init__, "__defaults__", (0.1,))
    with pytest.raises(FailedPrecondition, match="another daemon"):
        SqliteDatabase(path, pytest.fail)
    assert database.write(add("a")) == 1


def test_numbers_of_snapshots_are_never_used_twice(database: SqliteDatabase) -> None:
    def create(db: sqlite3.Connection) -> int | None:
        return db.execute(
            "INSERT INTO snapshot_records (snapshotter, key, kind, labels, created, updated) VALUES ('o','k',2,'{}',0,0)"
        ).lastrowid

    first = database.write(create)
    database.write(lambda db: db.execute("DELETE FROM snapshot_records"))
    assert database.write(create) != first


def test_the_database_file_is_private_to_its_owner_or_not_more_open_than_the_umask(path: str) -> None:
    SqliteDatabase(path, pytest.fail).close()
    assert os.stat(path).st_mode & 0o022 == 0


def test_who_writes_for_others_is_done_after_one_commit_and_another_goes_on(database: SqliteDatabase) -> None:
    by: dict[str, int] = {}

    def noting(name: str):
        def run(db: sqlite3.Connection) -> None:
            by[name] = threading.get_ident()

        return run

    together(database, [noting(f"n{number}") for number in range(BATCH + 5)])
    assert len(by) == BATCH + 5
    assert len(set(by.values())) == 2  # the first of each batch


def test_what_is_waiting_is_done_before_it_is_closed(database: SqliteDatabase) -> None:
    held = _Held(database)
    outcomes: list[object] = []
    waiting = threading.Thread(target=lambda: outcomes.append(database.write(add("late"))))
    waiting.start()
    while not database._turns.waiting:
        pass
    closing = threading.Thread(target=database.close)
    closing.start()
    held.release.set()
    for thread in (held.thread, waiting, closing):
        thread.join(30)
    assert outcomes == [1]
    with pytest.raises(Unavailable):
        database.write(add("too late"))


def test_a_commit_that_breaks_in_an_unforeseen_way_is_told_to_all_and_the_next_one_goes_on() -> None:
    turns: Turns

    def commit(batch: list[Work]) -> None:
        if any(work.frees for work in batch):
            raise MemoryError

    turns = Turns(commit, 10)
    broken, sound = Work(lambda _db: None, frees=True), Work(lambda _db: None, frees=False)
    assert turns.take(broken)
    assert isinstance(broken.error, MemoryError)
    assert turns.take(sound)
    assert sound.error is None
    turns.close()
    assert not turns.take(sound)
