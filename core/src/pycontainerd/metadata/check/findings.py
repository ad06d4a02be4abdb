"""What does not fit together, and what can be done about each."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator

import attrs

from pycontainerd.contracts.snapshots import Holding
from pycontainerd.sys.boot import boot_id
from pycontainerd.sys.tree import disk_usage

from . import truths
from .truths import Mounts, Place, Site

Step = tuple[str, ...]
_CHUNK = 1 << 20


@attrs.frozen
class Finding:
    """One thing: its ``kind``, what it is about, why it is wrong, the bytes it takes, and how to mend it (() : not)."""

    kind: str
    subject: str
    reason: str
    bytes: int = 0
    step: Step = ()


def scan(site: Site, db: sqlite3.Connection, *, digests: bool = False) -> list[Finding]:
    """Everything that is found; with ``digests`` every blob is read."""
    mounted = truths.mounts()
    found = list(_database(db))
    found += _content(site, db, digests=digests)
    found += _ingests(site, db)
    for place in site.places:
        found += _records(place, db)
        found += _trees(place, db, mounted)
    found += _references(db)
    return found


def _database(db: sqlite3.Connection) -> Iterator[Finding]:
    for (verdict,) in db.execute("PRAGMA integrity_check(10)"):
        if verdict != "ok":
            yield Finding("database-damaged", "metadata", f"{verdict}; the next start of the daemon replaces it")
    for table, *_ in db.execute("PRAGMA foreign_key_check"):
        yield Finding("database-reference", str(table), "a record refers to one that is not there")


def _content(site: Site, db: sqlite3.Connection, *, digests: bool) -> Iterator[Finding]:
    rows: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for namespace, digest, size in db.execute("SELECT namespace, digest, size FROM blobs"):
        rows[digest].append((namespace, size))
    seen = set()
    for digest, path, size in truths.blobs(site.content):
        seen.add(digest)
        if digest not in rows:
            reason = "no namespace has a record of this blob"
            yield Finding("content-orphan", digest, reason, size, ("delete-blob", digest, path))
            continue
        recorded = rows[digest][0][1]
        if recorded != size:
            reason = f"the file has {size} bytes, its record says {recorded}: it is of no use, pull the image again"
            yield Finding("content-size", digest, reason, size, ("drop-blob", digest, path))
        elif digests and not _is_whole(digest, path):
            reason = "the file does not have this digest: it is of no use, pull the image again"
            yield Finding("content-damaged", digest, reason, size, ("drop-blob", digest, path))
    for digest in sorted(rows.keys() - seen):
        names = ", ".join(namespace for namespace, _ in rows[digest])
        reason = f"namespace {names} has a record of it, but the file is gone: pull the image again"
        yield Finding("content-missing", digest, reason, 0, ("drop-blob", digest, ""))


def _is_whole(digest: str, path: str) -> bool:
    algorithm, _, value = digest.partition(":")
    with open(path, "rb") as file:
        state = hashlib.new(algorithm)
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest() == value


def _ingests(site: Site, db: sqlite3.Connection) -> Iterator[Finding]:
    there = truths.ingests(site.content)
    for namespace, number, ref, expected in db.execute("SELECT namespace, id, ref, expected FROM ingests").fetchall():
        if there.pop(truths.ingest_name(namespace, number, ref), None) is None and not expected:
            reason = f"namespace {namespace} has a record of this ingest, but its files are gone"
            yield Finding("ingest-missing", ref, reason, 0, ("drop-ingest", namespace, ref))
    for name, path in there.items():
        size = disk_usage(path).size
        yield Finding("ingest-orphan", path, "no record names this ingest", size, ("delete-ingest", name, path))


def _records(place: Place, db: sqlite3.Connection) -> Iterator[Finding]:
    name = place.name
    for namespace, key in db.execute(
        "SELECT namespace, key FROM snapshots s WHERE snapshotter = ? AND NOT EXISTS"
        " (SELECT 1 FROM snapshot_records r WHERE r.snapshotter = s.snapshotter AND r.key = s.name)",
        (name,),
    ):
        if not _is_recorded_elsewhere(db, name):
            reason = f"namespace {namespace} has it, {name} has no record of it"
            yield Finding("snapshot-without-record", key, reason, 0, ("drop-snapshot", name, namespace, key))
    for number, key in db.execute(
        "SELECT id, key FROM snapshot_records r WHERE snapshotter = ? AND NOT EXISTS"
        " (SELECT 1 FROM snapshots s WHERE s.snapshotter = r.snapshotter AND s.name = r.key)"
        " AND NOT EXISTS (SELECT 1 FROM snapshot_commits c WHERE c.snapshotter = r.snapshotter AND c.name = r.key)",
        (name,),
    ):
        reason = f"{name} has it, but no namespace: a collection would remove it"
        yield Finding("snapshot-orphan", key, reason, 0, ("drop-record", name, str(number)))
    for key, boot in db.execute(
        "SELECT name, boot FROM snapshot_syncs y WHERE snapshotter = ? AND EXISTS"
        " (SELECT 1 FROM snapshots s WHERE s.snapshotter = y.snapshotter AND s.name = y.name)",
        (name,),
    ):
        if boot != boot_id():
            reason = "the power was off before it was known to be on disk; check it with `ctr images verify`"
            yield Finding("snapshot-suspect", key, reason)


def _is_recorded_elsewhere(db: sqlite3.Connection, snapshotter: str) -> bool:
    """True for a snapshotter (in another process) that keeps no records in this database at all."""
    return db.execute("SELECT 1 FROM snapshot_records WHERE snapshotter = ? LIMIT 1", (snapshotter,)).fetchone() is None


def _trees(place: Place, db: sqlite3.Connection, mounted: Mounts) -> Iterator[Finding]:
    holdings = place.holdings()
    records = dict(db.execute("SELECT id, key FROM snapshot_records WHERE snapshotter = ?", (place.name,)).fetchall())
    if holdings is None:
        reason = f"nobody can say what is in {place.root} without a running daemon"
        if place.is_empty:
            reason = f"there are {len(records)} records, but nothing in {place.root}: is its file system mounted?"
        if records or (place.find is None and not place.is_empty):  # else it never was of use here
            yield Finding("not-compared", place.name, reason)
        return
    whole = {holding.number for holding in holdings if not holding.leftover}
    for holding in holdings:
        if holding.leftover or holding.number not in records:
            yield _tree(place, holding, recorded=holding.number in records, whole=whole, mounted=mounted)
    for number, key in records.items():
        if number not in {holding.number for holding in holdings}:
            reason = f"{place.name} has a record of it with number {number}, but its files are gone"
            yield Finding("snapshot-without-files", key, reason, 0, ("drop-record", place.name, str(number)))


def _tree(place: Place, holding: Holding, *, recorded: bool, whole: set[int], mounted: Mounts) -> Finding:
    size = _size(holding.path)
    if holding.leftover and recorded and holding.number not in whole:
        reason = (
            "a crash left it under another name; it belongs to a snapshot and the next start gives it its name back"
        )
        return Finding("tree-aside", holding.path, reason, size)
    if point := mounted.using(os.path.realpath(holding.path)):
        reason = f"no record names it, and it is in use by the mount at {point}: unmount that first"
        return Finding("tree-mounted", holding.path, reason, size)
    kind, reason = (
        ("tree-leftover", "a crash interrupted its making or its removal")
        if holding.leftover
        else ("tree-orphan", f"{place.name} has no record with number {holding.number}")
    )
    return Finding(kind, holding.path, reason, size, ("delete-tree", place.name, str(holding.number), holding.path))


def _size(path: str) -> int:
    try:
        return disk_usage(path).size
    except OSError:
        return 0


def _references(db: sqlite3.Connection) -> Iterator[Finding]:
    for namespace, key, snapshotter, snapshot in db.execute(
        "SELECT namespace, id, snapshotter, snapshot_key FROM containers c WHERE snapshot_key <> '' AND NOT EXISTS"
        " (SELECT 1 FROM snapshots s WHERE s.namespace = c.namespace AND s.snapshotter = c.snapshotter"
        " AND s.key = c.snapshot_key)"
    ):
        reason = f"its snapshot {snapshot!r} of {snapshotter} is not there: it cannot start, remove it"
        yield Finding("container-without-snapshot", f"{namespace}/{key}", reason)
    for namespace, name in db.execute(
        "SELECT namespace, name FROM images i WHERE NOT EXISTS (SELECT 1 FROM blobs b"
        " WHERE b.namespace = i.namespace AND b.digest = json_extract(i.target, '$[1]'))"
    ):
        yield Finding("image-without-content", f"{namespace}/{name}", "its manifest is not there: pull it again")
    for namespace, lease, kind, key in db.execute(
        "SELECT namespace, lease, type, id FROM lease_resources r WHERE"
        " (type = 'content' AND NOT EXISTS"
        "   (SELECT 1 FROM blobs b WHERE b.namespace = r.namespace AND b.digest = r.id))"
        " OR (type = 'ingests' AND NOT EXISTS"
        "   (SELECT 1 FROM ingests g WHERE g.namespace = r.namespace AND g.ref = r.id))"
        " OR (type LIKE 'snapshots/%' AND NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.namespace = r.namespace"
        "   AND 'snapshots/' || s.snapshotter = r.type AND s.key = r.id))"
    ):
        reason = f"lease {lease} of namespace {namespace} holds it, but it is not there"
        yield Finding("lease-of-nothing", f"{kind}/{key}", reason, 0, ("drop-resource", namespace, lease, kind, key))
