"""Mending what was found, step by step, with a journal: an interrupted repair is taken up where it was.

Every step looks again before it does anything, and is harmless when it is done twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence

from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition
from pycontainerd.sys.fs import fsync_dir, write_atomic
from pycontainerd.sys.mount import remove_tree

from . import truths
from .findings import Step
from .truths import Site

# Records go before what they name, and children before their parents; trees and files go when no record names them.
_ORDER = ("drop-resource", "drop-snapshot", "drop-record", "drop-ingest", "drop-blob")


class Journal:
    """The file ``path``: the steps of a repair, and how many are done."""

    def __init__(self, path: str) -> None:
        self._path = path

    def pending(self) -> list[Step]:
        """The steps of an interrupted repair that are not done."""
        try:
            with open(self._path, encoding="utf-8") as file:
                lines = [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []
        except ValueError as exc:
            raise FailedPrecondition(
                f"the journal of a repair, {self._path}, cannot be read: {exc}", hint="remove it and run fsck again"
            ) from exc
        steps = [tuple(map(str, line["step"])) for line in lines if "step" in line]
        done = {line["done"] for line in lines if "done" in line}
        return [step for number, step in enumerate(steps) if number not in done]

    def begin(self, steps: Sequence[Step]) -> None:
        """Note what is going to be done, on disk, before any of it is."""
        text = "".join(json.dumps({"step": step}) + "\n" for step in steps)
        write_atomic(self._path, text.encode(), 0o600)

    def done(self, number: int) -> None:
        """Note that step ``number`` (from 0) is done."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"done": number}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def end(self) -> None:
        """All is done."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        fsync_dir(os.path.dirname(self._path))


def repair(site: Site, database: Database, steps: Iterable[Step], say: Callable[[str], None]) -> int:
    """Do ``steps``; how many were done. What fails is said and left."""
    planned = sorted(steps, key=lambda step: _ORDER.index(step[0]) if step[0] in _ORDER else len(_ORDER))
    if not planned:
        return 0
    journal = Journal(site.journal)
    journal.begin(planned)
    count = 0
    for number, step in enumerate(planned):
        try:
            count += _DO[step[0]](site, database, *step[1:])
        except (ContainerdError, OSError) as exc:
            say(f"{' '.join(step)}: {exc}")
        journal.done(number)
    journal.end()
    return count


def _drop_snapshot(_: Site, database: Database, snapshotter: str, namespace: str, key: str) -> bool:
    """Not while another one is based on it: the next round comes to it."""

    def drop(db: sqlite3.Connection) -> bool:
        where = (namespace, snapshotter, key)
        below = db.execute(
            "SELECT 1 FROM snapshots WHERE namespace = ? AND snapshotter = ? AND parent = ? LIMIT 1", where
        ).fetchone()
        if below:
            return False
        gone = db.execute("DELETE FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ?", where)
        _release(db, namespace, f"snapshots/{snapshotter}", key)
        return gone.rowcount > 0

    return database.write(drop, frees=True)


def _drop_record(_: Site, database: Database, snapshotter: str, number: str) -> bool:
    def drop(db: sqlite3.Connection) -> bool:
        if db.execute("SELECT 1 FROM snapshot_records WHERE parent = ? LIMIT 1", (int(number),)).fetchone():
            return False
        row = db.execute(
            "DELETE FROM snapshot_records WHERE snapshotter = ? AND id = ? RETURNING key", (snapshotter, int(number))
        ).fetchone()
        if row is None:
            return False
        named = db.execute(
            "SELECT namespace, key FROM snapshots WHERE snapshotter = ? AND name = ?", (snapshotter, *row)
        )
        for namespace, key in named.fetchall():
            db.execute(
                "DELETE FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ?",
                (namespace, snapshotter, key),
            )
            _release(db, namespace, f"snapshots/{snapshotter}", key)
        db.execute("DELETE FROM snapshot_syncs WHERE snapshotter = ? AND name = ?", (snapshotter, *row))
        return True

    return database.write(drop, frees=True)


def _drop_blob(_: Site, database: Database, digest: str, path: str) -> bool:
    def drop(db: sqlite3.Connection) -> bool:
        gone = db.execute("DELETE FROM blobs WHERE digest = ?", (digest,)).rowcount > 0
        db.execute("DELETE FROM lease_resources WHERE type = 'content' AND id = ?", (digest,))
        return gone

    dropped = database.write(drop, frees=True)
    return (bool(path) and _unlink(path)) or dropped


def _delete_blob(_: Site, database: Database, digest: str, path: str) -> bool:
    found = database.read(lambda db: db.execute("SELECT 1 FROM blobs WHERE digest = ? LIMIT 1", (digest,)).fetchone())
    return found is None and _unlink(path)


def _drop_ingest(_: Site, database: Database, namespace: str, ref: str) -> bool:
    def drop(db: sqlite3.Connection) -> bool:
        gone = db.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (namespace, ref)).rowcount > 0
        _release(db, namespace, "ingests", ref)
        return gone

    return database.write(drop, frees=True)


def _delete_ingest(_: Site, database: Database, name: str, path: str) -> bool:
    rows = database.read(lambda db: db.execute("SELECT namespace, id, ref FROM ingests").fetchall())
    if name in {truths.ingest_name(*row) for row in rows}:
        return False
    return _remove(path)


def _delete_tree(site: Site, database: Database, snapshotter: str, number: str, path: str) -> bool:
    """Only while no record names it, nothing mounts it, and it is where its snapshotter has its trees."""
    recorded = database.read(
        lambda db: db.execute(
            "SELECT 1 FROM snapshot_records WHERE snapshotter = ? AND id = ?", (snapshotter, int(number))
        ).fetchone()
    )
    holdings = [
        holding
        for place in site.places
        if place.name == snapshotter
        for holding in place.holdings() or ()
        if holding.path == path
    ]
    if not holdings or (recorded and not holdings[0].leftover) or truths.mounts().using(os.path.realpath(path)):
        return False
    if holdings[0].delete is not None:
        holdings[0].delete()
        return True
    return _remove(path)


def _drop_resource(_: Site, database: Database, namespace: str, lease: str, kind: str, key: str) -> bool:
    where = (namespace, lease, kind, key)
    return database.write(
        lambda db: (
            db.execute(
                "DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND type = ? AND id = ?", where
            ).rowcount
            > 0
        ),
        frees=True,
    )


def _release(db: sqlite3.Connection, namespace: str, kind: str, key: str) -> None:
    db.execute("DELETE FROM lease_resources WHERE namespace = ? AND type = ? AND id = ?", (namespace, kind, key))


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _remove(path: str) -> bool:
    if not os.path.lexists(path):
        return False
    remove_tree(path)
    return True


_DO: dict[str, Callable[..., bool]] = {
    "drop-snapshot": _drop_snapshot,
    "drop-record": _drop_record,
    "drop-blob": _drop_blob,
    "drop-ingest": _drop_ingest,
    "drop-resource": _drop_resource,
    "delete-blob": _delete_blob,
    "delete-ingest": _delete_ingest,
    "delete-tree": _delete_tree,
}
