"""Migrations, and what releases do with a database that another release wrote."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import DataLoss, FailedPrecondition
from pycontainerd.metadata import schema
from pycontainerd.metadata.database import SqliteDatabase


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "metadata.db")


def of_version_1(path: str) -> None:
    """A database as the first release left it: no table says its version."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(f"BEGIN; {schema.MIGRATIONS[0]}; PRAGMA user_version = 1; COMMIT;")
    connection.execute("INSERT INTO namespaces (name) VALUES ('old')")
    connection.close()


def names(database: SqliteDatabase) -> list[str]:
    return database.read(lambda db: [row[0] for row in db.execute("SELECT name FROM namespaces ORDER BY name")])


def newer(path: str, floor: int) -> None:
    """What a release leaves that knows more migrations than this one."""
    SqliteDatabase(path, pytest.fail).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE of_the_future (x)")
    connection.execute("ALTER TABLE namespaces ADD COLUMN future TEXT NOT NULL DEFAULT 'kept'")
    connection.execute("INSERT INTO schema_versions VALUES (99, ?, '9.9', 0)", (floor,))
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def test_a_database_of_version_1_opens_under_this_release(path: str) -> None:
    of_version_1(path)
    database = SqliteDatabase(path, pytest.fail)
    assert names(database) == ["old"]
    versions = database.read(lambda db: db.execute("SELECT version, floor FROM schema_versions").fetchall())
    assert versions == [(number, schema.FLOOR) for number in range(2, len(schema.MIGRATIONS) + 1)]
    database.close()


def test_the_first_migration_is_what_the_first_release_had() -> None:
    """It never changes; its tables are counted on by databases in the world."""
    pristine = sqlite3.connect(":memory:")
    pristine.executescript(schema.MIGRATIONS[0])
    tables = {name for (name,) in pristine.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    pristine.close()
    assert tables - {"sqlite_sequence"} == {
        "namespaces", "blobs", "ingests", "images", "containers", "leases", "lease_resources", "snapshots",
        "snapshot_commits", "snapshot_records", "sandboxes", "sequences",
    }  # fmt: skip


def test_migrations_only_add() -> None:
    """Down to the floor every release finds the columns it knows."""
    for number in range(schema.FLOOR, len(schema.MIGRATIONS)):
        before, after = schema._expected(number), schema._expected(number + 1)
        assert {name: set(columns) - set(after.get(name, ())) for name, columns in before.items()} == {
            name: set() for name in before
        }


def test_a_newer_database_is_used_where_its_floor_permits(path: str) -> None:
    newer(path, floor=1)
    said: list[str] = []
    database = SqliteDatabase(path, said.append)
    assert database.write(lambda db: db.execute("INSERT INTO namespaces (name) VALUES ('x')").rowcount) == 1
    assert database.read(lambda db: db.execute("SELECT future FROM namespaces").fetchall()) == [("kept",)]
    database.close()
    assert len(said) == 1
    assert "schema version 99, written by a newer release" in said[0]


def test_a_newer_database_is_refused_and_left_alone_where_its_floor_does_not_permit(path: str) -> None:
    newer(path, floor=98)
    with pytest.raises(FailedPrecondition, match="schema version 99, which releases that know 98 or later"):
        SqliteDatabase(path, pytest.fail)
    assert not [name for name in os.listdir(os.path.dirname(path)) if "damaged" in name]


def test_a_version_that_the_tables_contradict_is_damage(path: str) -> None:
    SqliteDatabase(path, pytest.fail).close()
    for version in (0, 1, 77):
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(DataLoss, match="its header says"):
            schema.versions(connection)
        connection.close()


def test_a_table_without_a_column_is_damage(path: str) -> None:
    SqliteDatabase(path, pytest.fail).close()
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE images DROP COLUMN target")
    with pytest.raises(DataLoss, match="images"):
        schema.check_tables(connection, len(schema.MIGRATIONS))
    connection.close()


def test_migrations_run_one_after_another_and_only_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_version_1(path)
    monkeypatch.setattr(
        schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (x); INSERT INTO more VALUES (1)")
    )
    for _ in range(2):
        database = SqliteDatabase(path, pytest.fail)
        assert database.read(lambda db: db.execute("SELECT count(*) FROM more").fetchone()) == (1,)
        database.close()


def test_a_migration_that_fails_changes_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_version_1(path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (x); SELECT nonsense"))
        with pytest.raises(sqlite3.OperationalError):
            SqliteDatabase(path, pytest.fail)
    database = SqliteDatabase(path, pytest.fail)
    tables = database.read(lambda db: [row[0] for row in db.execute("SELECT name FROM sqlite_master")])
    assert "more" not in tables
    database.close()
