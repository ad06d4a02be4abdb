"""The containers of a namespace, in the metadata database."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import attrs

from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts import rows
from pycontainerd.contracts.containers import Container, ContainerStore
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pycontainerd.contracts.events import (
    ContainerCreate,
    ContainerDelete,
    ContainerRuntime,
    ContainerUpdate,
    EventBus,
)
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.service import validate_identifier
from pycontainerd.contracts.tables import ensure_namespace
from pycontainerd.contracts.types import AnyValue, Scope, now

from .known import Known, size

# Namespace, id, creation and last change, as the database has them.
_Head = tuple[str, str, int, int]

_COLUMNS = (
    "id, labels, image, runtime, runtime_options, spec, snapshotter, snapshot_key, extensions, sandbox,"
    " created, updated"
)


@attrs.frozen
class Containers:
    """`contracts.containers.ContainerService` over the metadata database."""

    database: Database
    events: EventBus
    _known: Known[_Head, Container] = attrs.field(factory=Known, init=False)

    def scoped(self, scope: Scope) -> ContainerStore:
        return ScopedContainers(self.database, self.events, scope, self._known)


class ScopedContainers:
    """See `contracts.containers.ContainerStore`."""

    def __init__(self, database: Database, events: EventBus, scope: Scope, known: Known[_Head, Container]) -> None:
        self._known = known
        self._database = database
        self._events = events
        self._namespace = scope.namespace

    def get(self, id: str) -> Container:  # noqa: A002
        return self._database.read(lambda db: self._get(db, id))

    def list(self, filters: Sequence[str] = ()) -> Sequence[Container]:
        wanted = parse(filters)

        def look(db: sqlite3.Connection) -> Sequence[Container]:
            heads = db.execute(
                "SELECT namespace, id, created, updated FROM containers WHERE namespace = ? ORDER BY id",
                (self._namespace,),
            )
            found = (self._known.get(head) or self._learn(db, head) for head in heads)
            return [one for one in found if wanted.match(partial(_field, one))]

        return self._database.read(look)

    def create(self, container: Container) -> Container:
        moment = now()
        made = attrs.evolve(validate(container), created_at=moment, updated_at=moment)

        def add(db: sqlite3.Connection) -> None:
            ensure_namespace(db, self._namespace)
            try:
                marks = ",".join("?" * 13)
                db.execute(f"INSERT INTO containers VALUES ({marks})", (self._namespace, *_row(made)))
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"container {container.id!r}: already exists") from None

        self._database.write(add)
        runtime = ContainerRuntime(container.runtime, container.runtime_options)
        self._events.publish(self._namespace, ContainerCreate(container.id, container.image, runtime))
        return made

    def update(self, container: Container, fieldpaths: Sequence[str] = ()) -> Container:
        def change(db: sqlite3.Connection) -> Container:
            old = self._get(db, container.id)
            assert old.updated_at is not None
            # Never the time of the change before, even where the clock was set back: lists know a record by it.
            moment = max(now(), old.updated_at + timedelta(microseconds=1))
            changed = attrs.evolve(validate(_changed(old, container, fieldpaths)), updated_at=moment)
            sets = ", ".join(f"{name.strip()} = ?" for name in _COLUMNS.split(","))
            db.execute(
                f"UPDATE containers SET {sets} WHERE namespace = ? AND id = ?",
                (*_row(changed), self._namespace, container.id),
            )
            return changed

        changed = self._database.write(change)
        self._events.publish(
            self._namespace, ContainerUpdate(changed.id, changed.image, changed.labels, changed.snapshot_key)
        )
        return changed

    def delete(self, id: str) -> None:  # noqa: A002
        def remove(db: sqlite3.Connection) -> None:
            self._get(db, id)
            db.execute("DELETE FROM containers WHERE namespace = ? AND id = ?", (self._namespace, id))

        self._database.write(remove, frees=True)
        self._events.publish(self._namespace, ContainerDelete(id))

    def _learn(self, db: sqlite3.Connection, head: _Head) -> Container:
        record = self._get(db, head[1])
        self._known.add(head, record, size(record))
        return record

    def _get(self, db: sqlite3.Connection, id: str) -> Container:  # noqa: A002
        row = db.execute(
            f"SELECT {_COLUMNS} FROM containers WHERE namespace = ? AND id = ?", (self._namespace, id)
        ).fetchone()
        if row is None:
            raise NotFound(f"container {id!r} in namespace {self._namespace!r}: not found")
        return _container(row)


def validate(container: Container) -> Container:
    """``container`` if it can be stored.

    :raises InvalidArgument: a bad id, no runtime, no spec, a snapshot without snapshotter, bad labels or extensions.
    """
    validate_identifier(container.id, "container id")
    if not container.runtime:
        raise InvalidArgument(f"container {container.id!r} names no runtime", hint="for example io.containerd.runc.v2")
    if container.spec is None or not container.spec.type_url:
        raise InvalidArgument(f"container {container.id!r} has no spec")
    if container.snapshot_key and not container.snapshotter:
        raise InvalidArgument(f"container {container.id!r} has a snapshot but names no snapshotter")
    for key, value in container.extensions.items():
        if not key or not value.type_url:
            raise InvalidArgument(f"container {container.id!r}: extension {key!r} needs a name and a type")
    return attrs.evolve(container, labels=label_rules.validate(container.labels))


# By the names that field paths have on the wire.
_MUTABLE = {"spec": "spec", "extensions": "extensions", "image": "image", "snapshotkey": "snapshot_key"}


def _changed(old: Container, new: Container, fieldpaths: Sequence[str]) -> Container:
    """``old`` with ``new`` applied: ``fieldpaths`` of it, or all that can change.

    :raises InvalidArgument: something else would change.
    """
    if not fieldpaths:
        for name in ("runtime", "snapshotter"):
            if getattr(new, name) != getattr(old, name):
                raise InvalidArgument(f"the {name} of container {old.id!r} cannot change")
    result = old
    for path in fieldpaths or ("labels", *_MUTABLE):
        if path == "labels" or path.startswith("labels."):
            result = attrs.evolve(result, labels=label_rules.update(result.labels, new.labels, [path]))
        elif path.startswith("extensions."):
            key = path.removeprefix("extensions.")
            kept = {name: value for name, value in result.extensions.items() if name != key}
            added = {key: new.extensions[key]} if key in new.extensions else {}
            result = attrs.evolve(result, extensions={**kept, **added})
        elif path in _MUTABLE:
            field = _MUTABLE[path]
            result = attrs.evolve(result, **{field: getattr(new, field)})
        else:
            known = ", ".join(("labels", *_MUTABLE))
            raise InvalidArgument(f"cannot update {path!r} of container {old.id!r}", hint=f"can change: {known}")
    return result


def _row(container: Container) -> tuple[Any, ...]:
    assert container.created_at is not None
    assert container.updated_at is not None
    return (
        container.id,
        rows.pack_map(container.labels),
        container.image,
        container.runtime,
        rows.pack_any(container.runtime_options),
        rows.pack_any(container.spec),
        container.snapshotter,
        container.snapshot_key,
        _pack_extensions(container.extensions),
        container.sandbox,
        rows.pack_time(container.created_at),
        rows.pack_time(container.updated_at),
    )


def _container(row: tuple[Any, ...]) -> Container:
    (id_, labels, image, runtime, options, spec, snapshotter, key, extensions, sandbox, created, updated) = row
    return Container(
        id=id_,
        labels=rows.unpack_map(labels),
        image=image,
        runtime=runtime,
        runtime_options=rows.unpack_any(options),
        spec=rows.unpack_any(spec),
        snapshotter=snapshotter,
        snapshot_key=key,
        extensions=_unpack_extensions(extensions),
        sandbox=sandbox,
        created_at=rows.unpack_time(created),
        updated_at=rows.unpack_time(updated),
    )


def _pack_extensions(extensions: Mapping[str, AnyValue]) -> str:
    return json.dumps(
        {key: [value.type_url, base64.b64encode(value.value).decode()] for key, value in extensions.items()}
    )


def _unpack_extensions(text: str) -> dict[str, AnyValue]:
    if text == "{}":
        return {}
    return {key: AnyValue(url, base64.b64decode(data)) for key, (url, data) in json.loads(text).items()}


def _field(container: Container, path: Sequence[str]) -> str | None:
    match list(path):
        case ["id"]:
            return container.id
        case ["image"]:
            return container.image
        case ["runtime", "name"]:
            return container.runtime
        case ["labels", *rest]:
            return label_rules.field(container.labels, rest)
    return None
