"""Records that can be derived from what is on disk, after a loss.

Blobs whose bytes have the digest of their name get records again, in the namespaces that have what refers to them, or
else in all that are known; a lease holds them for a week, so that nothing is collected before somebody has looked. Names
of images come from the annotations of indexes and from the labels that say where a manifest was fetched. Snapshots get
their rows from the records of their snapshotters. What is recorded and not there is taken out.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import attrs

from pycontainerd.contracts import gclabels, manifests, media_types, rows
from pycontainerd.contracts.database import Damage, Database
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument
from pycontainerd.contracts.manifests import Index, Manifest
from pycontainerd.contracts.snapshots import Kind
from pycontainerd.contracts.tables import ensure_namespace
from pycontainerd.contracts.types import Descriptor, now

from .check import truths
from .check.findings import scan
from .check.repair import repair
from .check.truths import Site

BUDGET = 300.0  # seconds for reading blobs; what is not read by then is recorded all the same, and said
HELD = timedelta(days=7)
NAME = "io.containerd.image.name"
WORKERS = 4
_CHUNK = 1 << 20
_EXPIRE = "containerd.io/gc.expire"
_GONE = ("content-missing", "content-size", "ingest-missing", "snapshot-without-record", "snapshot-without-files")
_ROUNDS = 130


@attrs.frozen
class _Blob:
    digest: str
    path: str
    size: int


def rebuild(database: Database, site: Site, damage: Damage, namespaces: Iterable[str]) -> None:
    """Do it, and add to the report of ``damage`` what came of it. ``namespaces`` are those that something else knows of."""
    known = set(database.read(_known)) | set(namespaces) or {"default"}
    recorded = {digest for (digest,) in database.read(lambda db: db.execute("SELECT digest FROM blobs").fetchall())}
    lost = [_Blob(*found) for found in truths.blobs(site.content) if found[0] not in recorded]
    sound = _verified(lost, damage)
    documents = _documents(_Blob(*found) for found in truths.blobs(site.content))
    homes = _homes(database, documents, known)
    if sound:
        database.write(lambda db: _record(db, sound, documents, homes, known))
        damage.add(f"{len(sound)} blobs without a record have one again; a lease 'recovered-…' holds them for a week")
    names = database.write(lambda db: _name(db, documents, homes, known))
    if names:
        damage.add(f"images that have their names again: {', '.join(sorted(names))}")
    restored = database.write(_rows)
    if restored:
        damage.add(f"{restored} snapshots have their row again, from the records of their snapshotters")
    _take_out(database, site, damage)


def _known(db: sqlite3.Connection) -> list[str]:
    tables = ("namespaces", "images", "blobs", "containers", "snapshots")
    columns = ("name", *["namespace"] * 4)
    parts = [f"SELECT {column} FROM {table}" for table, column in zip(tables, columns, strict=True)]
    return [name for (name,) in db.execute(" UNION ".join(parts))]


def _verified(blobs: list[_Blob], damage: Damage) -> list[_Blob]:
    """Those that are what they say, the small ones first; the others are said."""
    end = time.monotonic() + BUDGET
    blobs.sort(key=lambda blob: blob.size)
    with ThreadPoolExecutor(WORKERS) as pool:
        verdicts = list(pool.map(lambda blob: _verdict(blob, end), blobs))
    bad = [blob.digest for blob, verdict in zip(blobs, verdicts, strict=True) if verdict == "bad"]
    unread = sum(1 for verdict in verdicts if verdict == "unread")
    if bad:
        damage.add(f"{len(bad)} blobs on disk do not have the digest they are named by and get no record: {_some(bad)}")
    if unread:
        damage.add(f"{unread} blobs were too much to read in {BUDGET:g} s: check them with `containerd fsck --digests`")
    return [blob for blob, verdict in zip(blobs, verdicts, strict=True) if verdict != "bad"]


def _verdict(blob: _Blob, end: float) -> str:
    algorithm, _, wanted = blob.digest.partition(":")
    try:
        state = hashlib.new(algorithm)
        with open(blob.path, "rb") as file:
            while chunk := file.read(_CHUNK):
                if time.monotonic() > end:
                    return "unread"
                state.update(chunk)
    except (OSError, ValueError):
        return "bad"
    return "good" if state.hexdigest() == wanted else "bad"


def _documents(blobs: Iterable[_Blob]) -> dict[str, Manifest | Index]:
    """The manifests and indexes among ``blobs``."""
    found: dict[str, Manifest | Index] = {}
    for blob in blobs:
        if not 2 < blob.size <= media_types.MAX_MANIFEST:
            continue
        try:
            with open(blob.path, "rb") as file:
                data = file.read()
            if data[:1] == b"{":
                found[blob.digest] = manifests.parse(data, _media_type(data), blob.digest)
        except (ContainerdError, OSError, ValueError):
            continue  # a config, or anything else
    return found


def _media_type(data: bytes) -> str:
    document: Any = json.loads(data)
    if document.get("mediaType"):
        return str(document["mediaType"])
    if "manifests" in document:
        return media_types.OCI_INDEX
    if "layers" in document and "config" in document:
        return media_types.OCI_MANIFEST
    raise InvalidArgument("it is neither a manifest nor an index")


def _homes(database: Database, documents: Mapping[str, Manifest | Index], known: set[str]) -> dict[str, set[str]]:
    """For each blob the namespaces it belongs to: those of what refers to it, else all that are known."""
    homes: dict[str, set[str]] = {}
    found = database.read(lambda db: db.execute("SELECT namespace, digest FROM blobs").fetchall())
    found += database.read(
        lambda db: db.execute("SELECT namespace, json_extract(target, '$[1]') FROM images").fetchall()
    )
    for namespace, digest in found:
        homes.setdefault(digest, set()).add(namespace)
    children = {child.digest for document in documents.values() for child in document.children}
    pending = [digest for digest in documents if digest not in children or digest in homes]
    for digest in pending:  # grows while it is walked
        home = homes.setdefault(digest, set(known))
        for child in documents[digest].children:
            inherited = homes.setdefault(child.digest, set())
            if not home <= inherited:
                inherited |= home
                if child.digest in documents:
                    pending.append(child.digest)
    return homes


def _record(
    db: sqlite3.Connection,
    blobs: Iterable[_Blob],
    documents: Mapping[str, Manifest | Index],
    homes: Mapping[str, set[str]],
    known: set[str],
) -> None:
    moment = now()
    lease, stamp = f"recovered-{moment:%Y%m%dT%H%M%S}", rows.pack_time(moment)
    expire = rows.pack_map({_EXPIRE: (moment + HELD).strftime("%Y-%m-%dT%H:%M:%SZ")})
    for blob in blobs:
        document = documents.get(blob.digest)
        labels = rows.pack_map(gclabels.child_labels(document.children) if document else {})
        for namespace in homes.get(blob.digest) or known:
            ensure_namespace(db, namespace)
            db.execute(
                "INSERT OR IGNORE INTO blobs (namespace, digest, size, labels, created, updated) VALUES (?,?,?,?,?,?)",
                (namespace, blob.digest, blob.size, labels, stamp, stamp),
            )
            db.execute("INSERT OR IGNORE INTO leases VALUES (?,?,?,?)", (namespace, lease, expire, stamp))
            db.execute(
                "INSERT OR IGNORE INTO lease_resources VALUES (?,?,'content',?)", (namespace, lease, blob.digest)
            )


def _name(
    db: sqlite3.Connection,
    documents: Mapping[str, Manifest | Index],
    homes: Mapping[str, set[str]],
    known: set[str],
) -> set[str]:
    """Give images their names again, where no image has them; the names."""
    stamp = rows.pack_time(now())
    given = set()
    for name, target in _names(db, documents):
        for namespace in homes.get(target.digest) or known:
            there = db.execute("SELECT 1 FROM blobs WHERE namespace = ? AND digest = ?", (namespace, target.digest))
            if there.fetchone() is None:
                continue
            done = db.execute(
                "INSERT OR IGNORE INTO images (namespace, name, target, labels, created, updated) VALUES (?,?,?,?,?,?)",
                (namespace, name, rows.pack_descriptor(target), "{}", stamp, stamp),
            )
            given |= {name} if done.rowcount else set()
    return given


def _names(db: sqlite3.Connection, documents: Mapping[str, Manifest | Index]) -> Iterator[tuple[str, Descriptor]]:
    for document in documents.values():
        if isinstance(document, Index):
            for child in document.manifests:
                if name := child.annotations.get(NAME, ""):
                    yield name, attrs.evolve(child, annotations={}, platform=None)
    children = {child.digest for document in documents.values() for child in document.children}
    named = {digest for (digest,) in db.execute("SELECT json_extract(target, '$[1]') FROM images")}
    for digest, size, labels in db.execute("SELECT digest, size, labels FROM blobs").fetchall():
        if digest not in documents or digest in children or digest in named:
            continue
        for label, repositories in rows.unpack_map(labels).items():
            if label.startswith(f"{gclabels.DISTRIBUTION_SOURCE}."):
                host = label.removeprefix(f"{gclabels.DISTRIBUTION_SOURCE}.")
                for repository in repositories.split(","):
                    yield f"{host}/{repository}@{digest}", Descriptor(documents[digest].media_type, digest, size)


def _rows(db: sqlite3.Connection) -> int:
    """Rows of snapshots whose back end has a record named ``namespace/number/key``."""
    found = db.execute(
        "SELECT r.snapshotter, r.key, coalesce(p.key, ''), r.labels, r.created, r.updated FROM snapshot_records r"
        " LEFT JOIN snapshot_records p ON p.id = r.parent WHERE r.kind <> ? AND NOT EXISTS"
        " (SELECT 1 FROM snapshots s WHERE s.snapshotter = r.snapshotter AND s.name = r.key) AND NOT EXISTS"
        " (SELECT 1 FROM snapshot_commits c WHERE c.snapshotter = r.snapshotter AND c.name = r.key)",
        (int(Kind.UNKNOWN),),
    ).fetchall()
    count = 0
    for snapshotter, name, parent, labels, created, updated in found:
        namespace, _, rest = name.partition("/")
        key, above = rest.partition("/")[2], parent.partition("/")[2].partition("/")[2]
        if not key:
            continue
        ensure_namespace(db, namespace)
        count += db.execute(
            "INSERT OR IGNORE INTO snapshots VALUES (?,?,?,?,?,?,?,?)",
            (namespace, snapshotter, key, name, above, labels, created, updated),
        ).rowcount
    return count


def _take_out(database: Database, site: Site, damage: Damage) -> None:
    """Remove records of what is not there; what is there without a record stays, and is said."""
    count = 0
    for _ in range(_ROUNDS):
        found = database.read(lambda db: scan(site, db))
        steps = [finding.step for finding in found if finding.kind in _GONE and finding.step]
        done = repair(site, database, steps, damage.add)
        count += done
        if not done:
            break
    if count:
        damage.add(f"{count} records of what is not on disk were removed")
    trees = [finding for finding in found if finding.kind == "tree-orphan"]
    if trees:
        size = sum(finding.bytes for finding in trees)
        damage.add(
            f"{len(trees)} trees of snapshotters ({size} bytes) have no record and stay: {_some(t.subject for t in trees)};"
            " `containerd fsck --repair` removes them"
        )
    broken = [finding.subject for finding in found if finding.kind == "container-without-snapshot"]
    if broken:
        damage.add(f"containers whose snapshot is lost: {_some(broken)}")


def _some(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "")


def namespaces_of_tasks(state: str) -> list[str]:
    """The namespaces that have tasks, by the directories of those."""
    base = os.path.join(state, "io.containerd.runtime.v2.task")
    try:
        return [name for name in os.listdir(base) if os.path.isdir(os.path.join(base, name))]
    except OSError:
        return []
