"""The tables, as numbered migrations, and which releases may use what others wrote.

A migration that has been released never changes, and new ones only add: tables, columns with a default, indexes. So an
older release can go on with a database that a newer one has migrated, down to the *read floor*: the number of the
oldest schema whose releases still do nothing wrong with it. The table ``schema_versions`` says what was done when, by
which release, and the floor at that time. Only a migration that changes what old rows mean raises the floor.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from pycontainerd.contracts.errors import DataLoss, FailedPrecondition

FLOOR = 1  # the oldest schema whose releases may use a database with the newest one

# Times are nanoseconds since the epoch (contracts/rows.py), labels and extensions JSON, encoded Any values BLOBs.
# A row of `snapshot_commits` is a commit under way: `key` is to become `target`, at the back end `name`.
# An ingest's `expected` is the digest it shares with another namespace, else ""; `expires` is NULL under a lease.
# A row of `snapshot_syncs` is a commit whose files are not known to be on disk: it names the boot it was made in.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE namespaces (name TEXT PRIMARY KEY, labels TEXT NOT NULL DEFAULT '{}') WITHOUT ROWID;

    CREATE TABLE blobs (
        namespace TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, labels TEXT NOT NULL,
        created INTEGER NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (namespace, digest)
    ) WITHOUT ROWID;
    CREATE INDEX blobs_by_digest ON blobs (digest);

    CREATE TABLE ingests (
        namespace TEXT NOT NULL, ref TEXT NOT NULL, id INTEGER NOT NULL, expected TEXT NOT NULL, expires INTEGER,
        PRIMARY KEY (namespace, ref)
    ) WITHOUT ROWID;
    CREATE INDEX ingests_by_expected ON ingests (expected) WHERE expected <> '';

    CREATE TABLE images (
        namespace TEXT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL, labels TEXT NOT NULL,
        created INTEGER NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (namespace, name)
    ) WITHOUT ROWID;

    CREATE TABLE containers (
        namespace TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL, image TEXT NOT NULL,
        runtime TEXT NOT NULL, runtime_options BLOB, spec BLOB, snapshotter TEXT NOT NULL,
        snapshot_key TEXT NOT NULL, extensions TEXT NOT NULL, sandbox TEXT NOT NULL,
        created INTEGER NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (namespace, id)
    ) WITHOUT ROWID;

    CREATE TABLE leases (
        namespace TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL, created INTEGER NOT NULL,
        PRIMARY KEY (namespace, id)
    ) WITHOUT ROWID;
    CREATE TABLE lease_resources (
        namespace TEXT NOT NULL, lease TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (namespace, lease, type, id),
        FOREIGN KEY (namespace, lease) REFERENCES leases (namespace, id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX lease_resources_by_id ON lease_resources (namespace, type, id);

    CREATE TABLE snapshots (
        namespace TEXT NOT NULL, snapshotter TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
        parent TEXT NOT NULL, labels TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (namespace, snapshotter, key)
    ) WITHOUT ROWID;
    CREATE INDEX snapshots_by_parent ON snapshots (namespace, snapshotter, parent);
    CREATE INDEX snapshots_by_name ON snapshots (snapshotter, name);

    CREATE TABLE snapshot_commits (
        namespace TEXT NOT NULL, snapshotter TEXT NOT NULL, target TEXT NOT NULL, key TEXT NOT NULL,
        name TEXT NOT NULL, parent TEXT NOT NULL, labels TEXT NOT NULL,
        PRIMARY KEY (namespace, snapshotter, target), UNIQUE (namespace, snapshotter, key)
    ) WITHOUT ROWID;

    CREATE TABLE snapshot_records (
        id INTEGER PRIMARY KEY AUTOINCREMENT, snapshotter TEXT NOT NULL, key TEXT NOT NULL, kind INTEGER NOT NULL,
        parent INTEGER REFERENCES snapshot_records (id), size INTEGER NOT NULL DEFAULT 0,
        inodes INTEGER NOT NULL DEFAULT 0, labels TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
        UNIQUE (snapshotter, key)
    );
    CREATE INDEX snapshot_records_by_parent ON snapshot_records (parent);

    CREATE TABLE sandboxes (
        namespace TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL, sandboxer TEXT NOT NULL,
        runtime TEXT NOT NULL, runtime_options BLOB, spec BLOB, extensions TEXT NOT NULL,
        created INTEGER NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (namespace, id)
    ) WITHOUT ROWID;

    CREATE TABLE sequences (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE schema_versions (
        version INTEGER PRIMARY KEY, floor INTEGER NOT NULL, release TEXT NOT NULL, applied INTEGER NOT NULL
    );

    CREATE TABLE snapshot_syncs (
        snapshotter TEXT NOT NULL, name TEXT NOT NULL, boot TEXT NOT NULL, committed INTEGER NOT NULL,
        PRIMARY KEY (snapshotter, name)
    ) WITHOUT ROWID;
    """,
)


def _quiet(_: str) -> None:
    """For those who need not be told."""


def migrate(connection: sqlite3.Connection, say: Callable[[str], None] = _quiet, release: str = "") -> None:
    """Bring the database to the newest schema; each migration is one transaction.

    One that a newer release has migrated is used as it is where its read floor permits, and ``say`` is told.

    :raises FailedPrecondition: the floor does not permit it.
    :raises DataLoss: what the file says of its own version cannot be true.
    """
    version, floor = versions(connection)
    known = len(MIGRATIONS)
    if version > known:
        if floor > known:
            raise FailedPrecondition(
                f"the metadata database has schema version {version}, which releases that know {floor} or later can"
                f" use; this release knows up to {known}",
                hint="run the newer release that wrote it, or restore a copy from before the upgrade",
            )
        say(
            f"the metadata database has schema version {version}, written by a newer release; this one knows up to"
            f" {known} and goes on with it: what the newer one added is kept and not used"
        )
    for number in range(version, known):
        script = (
            f"BEGIN; {MIGRATIONS[number]}; PRAGMA user_version = {number + 1}; {_note(number + 1, release)} COMMIT;"
        )
        connection.executescript(script)


def versions(connection: sqlite3.Connection) -> tuple[int, int]:
    """The schema's version and its read floor.

    :raises DataLoss: the version in the file's header is not that of its tables.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    recorded, floor = min(version, 1), 1
    if "schema_versions" in tables:
        recorded, floor = connection.execute("SELECT max(version), max(floor) FROM schema_versions").fetchone()
    if version != recorded or (version == 0 and tables):
        raise DataLoss(f"its header says schema version {version}, its tables are of version {recorded or 'unknown'}")
    return version, floor


def _note(version: int, release: str) -> str:
    if version < 2:
        return ""  # the table for it comes with version 2
    quoted = release.replace("'", "''")
    return f"INSERT INTO schema_versions VALUES ({version}, {FLOOR}, '{quoted}', {time.time_ns()});"


def check_tables(connection: sqlite3.Connection, version: int) -> None:
    """Make sure that every table of schema ``version`` has its columns: damage in the schema itself shows nowhere else.

    :raises DataLoss: one has not.
    """
    for table, columns in _expected(version).items():
        try:
            connection.execute(f"SELECT {', '.join(columns)} FROM {table} LIMIT 0")
        except sqlite3.DatabaseError as exc:
            raise DataLoss(f"its table {table} is not as it must be: {exc}") from exc


def _expected(version: int) -> dict[str, list[str]]:
    pristine = sqlite3.connect(":memory:")
    try:
        for script in MIGRATIONS[:version]:
            pristine.executescript(script)
        tables = [name for (name,) in pristine.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: columns_of(pristine, table) for table in tables if not table.startswith("sqlite_")}
    finally:
        pristine.close()


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """The names of the columns of ``table``, in order."""
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
