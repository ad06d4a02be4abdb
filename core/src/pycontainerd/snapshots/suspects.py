"""After the power was off: snapshots that were committed, and perhaps never got to the disk whole.

The layers of images can be made again from their content, so they are removed and the next unpacking makes them anew.
What others are based on, and what is no layer, stays; it is said, and its record stays for `fsck` to find.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3

from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError, NotFound
from pycontainerd.contracts.snapshots import Snapshotter, Suspect
from pycontainerd.sys.boot import boot_id

from .table import Row, Table

log = logging.getLogger("containerd.snapshots")

_CHAIN_ID = re.compile(r"[a-z0-9]+:[0-9a-f]{32,}\Z")


def distrust(database: Database, snapshotter: str, backend: Snapshotter) -> list[str]:
    """Remove what is suspect and can be made again; returns the back end's names of what stays suspect."""
    names = database.read(lambda db: suspects(db, snapshotter))
    left: list[str] = []
    while names:
        # A layer goes before the one below it, which it is based on: as long as one goes, another may be free.
        gone = [name for name in names if _discard(database, snapshotter, backend, name)]
        if not gone:
            left = names
            break
        names = [name for name in names if name not in gone]
    for name in left:
        log.warning(
            "the power was off before this snapshot was known to be on disk, and it cannot be made anew while others are"
            " based on it, or at all: check it with `ctr images verify`",
            extra={"fields": {"snapshotter": snapshotter, "key": name.split("/", 2)[-1]}},
        )
    return left


def suspects(db: sqlite3.Connection, snapshotter: str) -> list[str]:
    """The back end's names of snapshots that were committed in another boot and not synced in it."""
    found = db.execute(
        "SELECT name FROM snapshot_syncs WHERE snapshotter = ? AND boot <> ? ORDER BY committed DESC",
        (snapshotter, boot_id()),
    )
    return [name for (name,) in found]


def listed(db: sqlite3.Connection) -> list[Suspect]:
    """Those of all snapshotters, as namespaces know them, the lowest layers first."""
    found = db.execute(
        "SELECT y.snapshotter, s.namespace, s.key FROM snapshot_syncs y"
        " JOIN snapshots s ON s.snapshotter = y.snapshotter AND s.name = y.name WHERE y.boot <> ? ORDER BY y.committed",
        (boot_id(),),
    )
    return [Suspect(*row) for row in found]


def trust(db: sqlite3.Connection, suspect: Suspect) -> None:
    """Forget that there was doubt."""
    db.execute(
        "DELETE FROM snapshot_syncs WHERE snapshotter = ? AND name IN"
        " (SELECT name FROM snapshots WHERE snapshotter = ? AND namespace = ? AND key = ?)",
        (suspect.snapshotter, suspect.snapshotter, suspect.namespace, suspect.key),
    )


def _discard(database: Database, snapshotter: str, backend: Snapshotter, name: str) -> bool:
    """True when the snapshot ``name`` is gone, or was."""
    taken = database.write(lambda db: _take(db, snapshotter, name), frees=True)
    if taken is None:
        return False
    try:
        with contextlib.suppress(NotFound):
            backend.remove(name)
    except (ContainerdError, OSError) as exc:
        database.write(lambda db: _put_back(db, taken), frees=True)
        fields = {"snapshotter": snapshotter, "key": name, "error": str(exc)}
        log.warning("a snapshot that may be damaged cannot be removed", extra={"fields": fields})
        return False
    database.write(lambda db: _forget(db, snapshotter, name), frees=True)
    if taken:
        log.warning(
            "the power was off before this layer was known to be on disk: it is removed, and unpacked anew when wanted",
            extra={"fields": {"snapshotter": snapshotter, "key": name.split("/", 2)[-1]}},
        )
    return True


def _take(db: sqlite3.Connection, snapshotter: str, name: str) -> list[tuple[Table, Row]] | None:
    """Take the rows of a layer that nothing is based on; None where it has to stay."""
    found = db.execute(
        "SELECT namespace, key FROM snapshots WHERE snapshotter = ? AND name = ?", (snapshotter, name)
    ).fetchall()
    tables = [(Table(namespace, snapshotter), key) for namespace, key in found]
    for table, key in tables:
        if not _CHAIN_ID.match(key) or _has_children(db, table, key):
            return None
    return [(table, table.delete(db, key)) for table, key in tables]


def _has_children(db: sqlite3.Connection, table: Table, key: str) -> bool:
    below = db.execute(
        "SELECT 1 FROM snapshots WHERE namespace = ? AND snapshotter = ? AND parent = ? LIMIT 1",
        (table.namespace, table.snapshotter, key),
    )
    return below.fetchone() is not None


def _put_back(db: sqlite3.Connection, taken: list[tuple[Table, Row]]) -> None:
    for table, row in taken:
        table.insert(db, row)


def _forget(db: sqlite3.Connection, snapshotter: str, name: str) -> None:
    db.execute("DELETE FROM snapshot_syncs WHERE snapshotter = ? AND name = ?", (snapshotter, name))
