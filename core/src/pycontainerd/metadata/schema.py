"""The tables, as numbered migrations. A migration that has been released never changes; new ones only add."""

from __future__ import annotations

import sqlite3

from pycontainerd.contracts.errors import FailedPrecondition

# Times are nanoseconds since the epoch (contracts/rows.py), labels and extensions JSON, encoded Any values BLOBs.
# A row of `snapshot_commits` is a commit under way: `key` is to become `target`, at the back end `name`.
# An ingest's `expected` is the digest it shares with another namespace, else ""; `expires` is NULL under a lease.
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
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest schema; each migration is one transaction.

    :raises FailedPrecondition: the file was written by a newer release.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise FailedPrecondition(
            f"the metadata database has schema version {version}, this release knows up to {len(MIGRATIONS)}",
            hint="run the newer release that wrote it",
        )
    for number in range(version, len(MIGRATIONS)):
        connection.executescript(f"BEGIN; {MIGRATIONS[number]}; PRAGMA user_version = {number + 1}; COMMIT;")
