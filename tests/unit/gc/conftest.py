"""A small containerd without a daemon: real database, blobs and snapshots."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from pycontainerd.containers.containers import Containers
from pycontainerd.content.content import Content
from pycontainerd.content.local import LocalStore
from pycontainerd.contracts.containers import Container
from pycontainerd.contracts.gc import Change
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.types import EMPTY, AnyValue, Descriptor, Scope
from pycontainerd.gc.inventory import MetadataInventory
from pycontainerd.images.images import Images
from pycontainerd.leases.leases import Leases
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.snapshots.snapshots import Snapshots
from pycontainerd_gc.collector import Collector

GC = "containerd.io/gc."


class Events:
    """Remembers what was published."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def publish(self, namespace: str, event: object, topic: str = "") -> None:
        self.seen.append(event)


@attrs.define(slots=False)
class World:
    """Everything in namespace ``n``, with short words for it."""

    root: Path
    database: SqliteDatabase
    scope: Scope = attrs.Factory(lambda: Scope("n"))
    changes: list[Change] = attrs.field(factory=list)
    events: Events = attrs.field(factory=Events)

    def __attrs_post_init__(self) -> None:
        self.open()

    def open(self, wrap: Callable[[NativeSnapshotter], Any] = lambda backend: backend) -> None:
        """Make the services anew, as a start of the daemon does."""
        self.store = LocalStore(str(self.root / "content"))
        self.backend = NativeSnapshotter(str(self.root / "native"), RecordStore(self.database).records("native"))
        self.content_service = Content(self.store, self.database, self.events)
        self.snapshot_service = Snapshots(
            {"native": wrap(self.backend)}, ("native",), self.database, self.events, lambda _: "why not"
        )
        self.leases = Leases(self.database).scoped("n")
        self.inventory = MetadataInventory(
            self.database, self.events, lambda: self.content_service, lambda: self.snapshot_service
        )
        self.collector = Collector(self.database, self.inventory, self.changes.append)

    @property
    def content(self):
        return self.content_service.scoped(self.scope)

    @property
    def snapshots(self):
        return self.snapshot_service.scoped(self.scope, "native")

    @property
    def images(self):
        return Images(self.database, self.events).scoped(self.scope)

    @property
    def containers(self):
        return Containers(self.database, self.events).scoped(self.scope)

    def blob(self, text: str, **refs: str) -> str:
        """Write one; ``refs`` are labels without their beginning, ``__`` for a dot."""
        writer = self.content.writer(f"ref-{text}")
        writer.write(text.encode())
        labels = {GC + name.replace("__", "."): value for name, value in refs.items()}
        return writer.commit(labels=labels).digest

    def image(self, name: str, target: str, labels: Mapping[str, str] = EMPTY) -> None:
        self.images.create(Image(name, Descriptor("application/vnd.oci.image.manifest.v1+json", target, 5), labels))

    def layer(self, name: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> None:
        """A committed snapshot."""
        self.snapshots.prepare(f"{name}-active", parent)
        self.snapshots.commit(name, f"{name}-active", labels)

    def container(self, name: str, key: str, image: str = "") -> None:
        self.containers.create(
            Container(
                name, runtime="r", spec=AnyValue("spec", b"{}"), image=image, snapshotter="native", snapshot_key=key
            )
        )

    def blobs(self) -> set[str]:
        """Digests that have a record; the files must be the same."""
        recorded = {info.digest for info in self.content.walk()}
        assert {info.digest for info in self.store.walk()} == recorded
        return recorded

    def snapshot_names(self) -> set[str]:
        recorded = {info.name for info in self.snapshots.walk()}
        assert len(list(self.backend.walk())) == len(recorded)
        return recorded


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    made = World(tmp_path, database)
    yield made
    made.backend.close()
    database.close()


@pytest.fixture
def meanwhile(world: World, monkeypatch) -> Callable[[Callable[[], object]], None]:
    """``meanwhile(act)``: do it after the next mark and before its sweep."""

    def arrange(act: Callable[[], object]) -> None:
        entries = world.inventory.entries

        def read(db, **kwargs):
            yield from entries(db, **kwargs)
            monkeypatch.undo()
            act()

        monkeypatch.setattr(world.inventory, "entries", read)

    return arrange
