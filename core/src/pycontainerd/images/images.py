"""The images of a namespace, in the metadata database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs

from pycontainerd.contracts import digests, rows
from pycontainerd.contracts import labels as label_rules
from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound
from pycontainerd.contracts.events import EventBus, ImageCreate, ImageDelete, ImageUpdate
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.images import Image, ImageStore
from pycontainerd.contracts.tables import ensure_namespace, hold
from pycontainerd.contracts.types import Descriptor, Scope, now

MAX_NAME = 4096  # characters
_COLUMNS = "name, target, labels, created, updated"


@attrs.frozen
class Images:
    """`contracts.images.ImageService` over the metadata database."""

    database: Database
    events: EventBus

    def scoped(self, scope: Scope) -> ImageStore:
        return ScopedImages(self.database, self.events, scope)


class ScopedImages:
    """See `contracts.images.ImageStore`."""

    def __init__(self, database: Database, events: EventBus, scope: Scope) -> None:
        self._database = database
        self._events = events
        self._scope = scope
        self._namespace = scope.namespace

    def get(self, name: str) -> Image:
        return self._database.read(lambda db: self._get(db, name))

    def list(self, filters: Sequence[str] = ()) -> Sequence[Image]:
        wanted = parse(filters)
        found = self._database.read(
            lambda db: db.execute(
                f"SELECT {_COLUMNS} FROM images WHERE namespace = ? ORDER BY name", (self._namespace,)
            ).fetchall()
        )
        return [image for image in map(_image, found) if wanted.match(partial(_field, image))]

    def create(self, image: Image) -> Image:
        moment = rows.pack_time(now())
        created = validate(image)

        def add(db: sqlite3.Connection) -> None:
            ensure_namespace(db, self._namespace)
            try:
                db.execute(
                    "INSERT INTO images VALUES (?,?,?,?,?,?)",
                    (
                        self._namespace,
                        created.name,
                        rows.pack_descriptor(created.target),
                        rows.pack_map(created.labels),
                        moment,
                        moment,
                    ),
                )
            except sqlite3.IntegrityError:
                raise AlreadyExists(f"image {image.name!r}: already exists") from None
            hold(db, self._scope, "images", image.name)

        self._database.write(add)
        self._events.publish(self._namespace, ImageCreate(image.name, image.labels))
        when = rows.unpack_time(moment)
        return attrs.evolve(created, created_at=when, updated_at=when)

    def update(self, image: Image, fieldpaths: Sequence[str] = ()) -> Image:
        def change(db: sqlite3.Connection) -> Image:
            changed = validate(_changed(self._get(db, image.name), image, fieldpaths))
            moment = rows.pack_time(now())
            db.execute(
                "UPDATE images SET target = ?, labels = ?, updated = ? WHERE namespace = ? AND name = ?",
                (
                    rows.pack_descriptor(changed.target),
                    rows.pack_map(changed.labels),
                    moment,
                    self._namespace,
                    image.name,
                ),
            )
            return attrs.evolve(changed, updated_at=rows.unpack_time(moment))

        changed = self._database.write(change)
        self._events.publish(self._namespace, ImageUpdate(changed.name, changed.labels))
        return changed

    def delete(self, name: str, target: Descriptor | None = None) -> None:
        def remove(db: sqlite3.Connection) -> None:
            image = self._get(db, name)
            if target is not None and target.digest != image.target.digest:
                raise NotFound(f"image {name!r} is {image.target.digest} by now, not {target.digest}")
            db.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (self._namespace, name))

        self._database.write(remove, frees=True)
        self._events.publish(self._namespace, ImageDelete(name))

    def _get(self, db: sqlite3.Connection, name: str) -> Image:
        row = db.execute(
            f"SELECT {_COLUMNS} FROM images WHERE namespace = ? AND name = ?", (self._namespace, name)
        ).fetchone()
        if row is None:
            raise NotFound(f"image {name!r}: not found")
        return _image(row)


def validate(image: Image) -> Image:
    """``image`` if it can be stored.

    :raises InvalidArgument: no name, a name over the limit, or a target without digest, size or media type.
    """
    if not image.name or len(image.name) > MAX_NAME:
        raise InvalidArgument(f"an image name must have 1 to {MAX_NAME} characters, this has {len(image.name)}")
    digests.validate(image.target.digest)
    if image.target.size <= 0:
        raise InvalidArgument(f"image {image.name!r}: its target's size is {image.target.size}, it must be above 0")
    if not image.target.media_type:
        raise InvalidArgument(f"image {image.name!r}: its target has no media type")
    return attrs.evolve(image, labels=label_rules.validate(image.labels))


def _changed(old: Image, new: Image, fieldpaths: Sequence[str]) -> Image:
    if not fieldpaths:
        return attrs.evolve(new, created_at=old.created_at)
    result = old
    for path in fieldpaths:
        if path == "target":
            result = attrs.evolve(result, target=new.target)
        elif path.startswith("labels"):
            result = attrs.evolve(result, labels=label_rules.update(result.labels, new.labels, [path]))
        elif path.startswith("annotations"):
            notes = new.target.annotations
            if path != "annotations":
                key = path.removeprefix("annotations.")
                notes = {**result.target.annotations, key: notes.get(key, "")}
            result = attrs.evolve(result, target=attrs.evolve(result.target, annotations=notes))
        else:
            raise InvalidArgument(f"cannot update {path!r} of image {old.name!r}", hint="target, labels or annotations")
    return result


def _image(row: tuple[Any, ...]) -> Image:
    name, target, labels, created, updated = row
    return Image(
        name,
        rows.unpack_descriptor(target),
        rows.unpack_map(labels),
        rows.unpack_time(created),
        rows.unpack_time(updated),
    )


def _field(image: Image, path: Sequence[str]) -> str | None:
    match list(path):
        case ["name"]:
            return image.name
        case ["target", "digest"]:
            return image.target.digest
        case ["target", "mediatype"]:
            return image.target.media_type
        case ["labels", *rest]:
            return label_rules.field(image.labels, rest)
        case ["annotations", *rest]:
            return label_rules.field(image.target.annotations, rest)
    return None
