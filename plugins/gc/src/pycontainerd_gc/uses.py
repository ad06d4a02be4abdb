"""When images were last used: a container was made from them, started or removed. Kept over restarts.

A file of its own: losing the last entries in a power cut costs nothing but an image that goes a little early or late.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.events import EventBus
from pycontainerd.contracts.gc import CONTAINERS, IMAGES, Node
from pycontainerd.kernel.context import Logger

FILTERS = ('topic=="/containers/create"', 'topic=="/containers/delete"', 'topic=="/tasks/start"')
AGAIN = 5.0  # seconds until a subscription that ended is made anew


class Uses:
    """Thread-safe. ``image_of(container)`` says what a container that exists was made from; empty: nobody knows."""

    def __init__(self, path: str, image_of: Callable[[Node], str], log: Logger) -> None:
        self._image_of = image_of
        self._log = log
        self._lock = threading.Lock()
        self._images: dict[Node, str] = {}  # of containers, for when they are removed
        self._times: dict[Node, float] = {}
        self._db = _open(path)
        for namespace, name, used in self._db.execute("SELECT namespace, name, used FROM images"):
            self._times[Node(IMAGES, namespace, name)] = used

    def used_at(self, node: Node) -> float:
        """In seconds since the epoch; 0: never, as far as is known."""
        return self._times.get(node, 0.0)

    def remember(self, containers: Mapping[Node, str]) -> None:
        """What containers that exist were made from, for when they are removed."""
        with self._lock:
            self._images.update(containers)

    def touch(self, namespace: str, container: str) -> None:
        """The container is made, started or removed: its image was used."""
        node = Node(CONTAINERS, namespace, container)
        name = self._image_of(node) or self._images.get(node, "")
        if not name:
            return
        moment = time.time()
        with self._lock:
            self._images[node] = name
            self._times[Node(IMAGES, namespace, name)] = moment
            self._db.execute("INSERT OR REPLACE INTO images VALUES (?,?,?)", (namespace, name, moment))

    def forget(self, images: set[Node]) -> None:
        """Only these are of interest: the others are gone."""
        with self._lock:
            for node in [node for node in self._times if node not in images]:
                del self._times[node]
                self._db.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (node.namespace, node.key))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    async def follow(self, events: EventBus) -> None:
        """Touch what events tell of, until cancelled."""
        while True:
            subscription = events.subscribe(FILTERS)
            try:
                async for envelope in subscription:
                    event = envelope.event
                    container = getattr(event, "container_id", "") or getattr(event, "id", "")
                    await asyncio.to_thread(self.touch, envelope.namespace, container)
                    if envelope.topic == "/containers/delete":
                        self._images.pop(Node(CONTAINERS, envelope.namespace, container), None)
            except (ContainerdError, sqlite3.Error) as exc:  # it fell behind, or the disk is full
                self._log.warning("the use of images is not followed for a moment", error=str(exc))
                await asyncio.sleep(AGAIN)
            finally:
                subscription.close()


def _open(path: str) -> sqlite3.Connection:
    """The file at ``path``; one that is damaged is begun anew, and without disk space it is kept in memory."""
    try:
        return _prepared(path)
    except sqlite3.DatabaseError:
        try:
            os.unlink(path)
            return _prepared(path)
        except (sqlite3.Error, OSError):
            return _prepared(":memory:")


def _prepared(path: str) -> sqlite3.Connection:
    made = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        made.execute("PRAGMA synchronous = OFF")
        made.execute(
            "CREATE TABLE IF NOT EXISTS images"
            " (namespace TEXT, name TEXT, used REAL, PRIMARY KEY (namespace, name)) WITHOUT ROWID"
        )
    except BaseException:
        made.close()
        raise
    return made
