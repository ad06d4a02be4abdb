"""The leases of a namespace, in the metadata database."""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from functools import partial

import attrs

from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts import rows
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.digests import validate as validate_digest
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound, NotImplemented
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.leases import Lease, LeaseManager, Resource
from pycontainerd.contracts.tables import ensure_namespace
from pycontainerd.contracts.types import EMPTY, now

_TYPE = re.compile(r"(?:content|ingests|images|snapshots/[A-Za-z0-9][A-Za-z0-9_.-]*)\Z")
MAX_ID = 1024  # bytes; ids are free text, clients use digests and paths


@attrs.frozen
class Leases:
    """`contracts.leases.LeaseService` over the metadata database."""

    database: Database

    def scoped(self, namespace: str) -> LeaseManager:
        return ScopedLeases(self.database, namespace)


class ScopedLeases:
    """See `contracts.leases.LeaseManager`."""

    def __init__(self, database: Database, namespace: str) -> None:
        self._database = database
        self._namespace = namespace

    def create(self, id: str = "", labels: Mapping[str, str] = EMPTY) -> Lease:  # noqa: A002
        name = _valid_id(id) if id else f"{time.time_ns()}-{secrets.token_hex(4)}"
        lease = Lease(name, now(), label_rules.validate(labels))

        def add(db: sqlite3.Connection) -> None:
            ensure_namespace(db, self._namespace)
            try:
                db.execute(
                    "INSERT INTO leases VALUES (?,?,?,?)",
                    (self._namespace, name, rows.pack_map(labels), rows.pack_time(lease.created_at)),
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"lease {name}: already exists") from None

        self._database.write(add)
        return lease

    def delete(self, id: str) -> None:  # noqa: A002
        def remove(db: sqlite3.Connection) -> None:
            done = db.execute("DELETE FROM leases WHERE namespace = ? AND id = ?", (self._namespace, id))
            if done.rowcount == 0:
                raise NotFound(f"lease {id}: not found")

        self._database.write(remove, frees=True)

    def list(self, filters: Sequence[str] = ()) -> Sequence[Lease]:
        wanted = parse(filters)
        found = self._database.read(
            lambda db: db.execute(
                "SELECT id, created, labels FROM leases WHERE namespace = ? ORDER BY id", (self._namespace,)
            ).fetchall()
        )
        leases = [Lease(id_, rows.unpack_time(created), rows.unpack_map(labels)) for id_, created, labels in found]
        return [lease for lease in leases if wanted.match(partial(_field, lease))]

    def add_resource(self, id: str, resource: Resource) -> None:  # noqa: A002
        _check(resource)

        def add(db: sqlite3.Connection) -> None:
            self._exists(db, id)
            db.execute(
                "INSERT OR IGNORE INTO lease_resources VALUES (?,?,?,?)",
                (self._namespace, id, resource.type, resource.id),
            )

        self._database.write(add)

    def delete_resource(self, id: str, resource: Resource) -> None:  # noqa: A002
        _check(resource)

        def remove(db: sqlite3.Connection) -> None:
            self._exists(db, id)
            db.execute(
                "DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND type = ? AND id = ?",
                (self._namespace, id, resource.type, resource.id),
            )

        self._database.write(remove, frees=True)

    def resources(self, id: str) -> Sequence[Resource]:  # noqa: A002
        def find(db: sqlite3.Connection) -> Sequence[Resource]:
            self._exists(db, id)
            found = db.execute(
                "SELECT type, id FROM lease_resources WHERE namespace = ? AND lease = ? ORDER BY type, id",
                (self._namespace, id),
            )
            return [Resource(type_, id_) for type_, id_ in found]

        return self._database.read(find)

    def _exists(self, db: sqlite3.Connection, id: str) -> None:  # noqa: A002
        found = db.execute("SELECT 1 FROM leases WHERE namespace = ? AND id = ?", (self._namespace, id)).fetchone()
        if found is None:
            raise NotFound(f"lease {id}: not found")


def _valid_id(id: str) -> str:  # noqa: A002
    if len(id.encode()) > MAX_ID or not id.isprintable():
        raise InvalidArgument(f"lease id {id[:40]!r} must be printable and of at most {MAX_ID} bytes")
    return id


def _check(resource: Resource) -> None:
    if not _TYPE.match(resource.type):
        known = resource.type.partition("/")[0] in ("content", "ingests", "images", "snapshots")
        raise (InvalidArgument if known else NotImplemented)(
            f"a lease cannot hold a {resource.type[:80]!r}", hint="content, ingests, images or snapshots/<snapshotter>"
        )
    if resource.type == "content":
        validate_digest(resource.id)
    elif not resource.id or len(resource.id) > 4096:
        raise InvalidArgument(f"a {resource.type} resource needs an id of 1 to 4096 characters")


def _field(lease: Lease, path: Sequence[str]) -> str | None:
    match list(path):
        case ["id"]:
            return lease.id
        case ["labels", *rest]:
            return label_rules.field(lease.labels, rest)
    return None
