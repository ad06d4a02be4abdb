"""The event bus, and events as records.

Each record is named as its message in ``containerd.events`` (or ``containerd.services.images.v1``), with the same
field names, so that the edge converts it by name. Topics: `TOPICS`. They are tuples with names, because every start of
the daemon makes all these classes, and attrs takes five times as long for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import attrs

from .types import EMPTY, AnyValue, Mount


class ImageCreate(NamedTuple):
    name: str
    labels: Mapping[str, str] = EMPTY


class ImageUpdate(NamedTuple):
    name: str
    labels: Mapping[str, str] = EMPTY


class ImageDelete(NamedTuple):
    name: str


class ContentCreate(NamedTuple):
    digest: str
    size: int


class ContentDelete(NamedTuple):
    digest: str


class SnapshotPrepare(NamedTuple):
    key: str
    parent: str = ""
    snapshotter: str = ""


class SnapshotCommit(NamedTuple):
    key: str
    name: str
    snapshotter: str = ""


class SnapshotRemove(NamedTuple):
    key: str
    snapshotter: str = ""


class NamespaceCreate(NamedTuple):
    name: str
    labels: Mapping[str, str] = EMPTY


class NamespaceUpdate(NamedTuple):
    name: str
    labels: Mapping[str, str] = EMPTY


class NamespaceDelete(NamedTuple):
    name: str


class ContainerRuntime(NamedTuple):
    name: str = ""
    options: AnyValue | None = None


class ContainerCreate(NamedTuple):
    id: str
    image: str = ""
    runtime: ContainerRuntime | None = None


class ContainerUpdate(NamedTuple):
    id: str
    image: str = ""
    labels: Mapping[str, str] = EMPTY
    snapshot_key: str = ""


class ContainerDelete(NamedTuple):
    id: str


class TaskIO(NamedTuple):
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class TaskCreate(NamedTuple):
    container_id: str
    bundle: str = ""
    rootfs: Sequence[Mount] = ()
    io: TaskIO | None = None
    checkpoint: str = ""
    pid: int = 0


class TaskStart(NamedTuple):
    container_id: str
    pid: int


class TaskDelete(NamedTuple):
    container_id: str
    pid: int
    exit_status: int
    exited_at: datetime
    id: str = ""


class TaskExit(NamedTuple):
    container_id: str
    id: str
    pid: int
    exit_status: int
    exited_at: datetime


class TaskOOM(NamedTuple):
    container_id: str


class TaskExecAdded(NamedTuple):
    container_id: str
    exec_id: str


class TaskExecStarted(NamedTuple):
    container_id: str
    exec_id: str
    pid: int


class TaskPaused(NamedTuple):
    container_id: str


class TaskResumed(NamedTuple):
    container_id: str


class TaskCheckpointed(NamedTuple):
    container_id: str
    checkpoint: str


TOPICS: Mapping[type, str] = {
    ImageCreate: "/images/create",
    ImageUpdate: "/images/update",
    ImageDelete: "/images/delete",
    ContentCreate: "/content/create",
    ContentDelete: "/content/delete",
    SnapshotPrepare: "/snapshot/prepare",
    SnapshotCommit: "/snapshot/commit",
    SnapshotRemove: "/snapshot/remove",
    NamespaceCreate: "/namespaces/create",
    NamespaceUpdate: "/namespaces/update",
    NamespaceDelete: "/namespaces/delete",
    ContainerCreate: "/containers/create",
    ContainerUpdate: "/containers/update",
    ContainerDelete: "/containers/delete",
    TaskCreate: "/tasks/create",
    TaskStart: "/tasks/start",
    TaskDelete: "/tasks/delete",
    TaskExit: "/tasks/exit",
    TaskOOM: "/tasks/oom",
    TaskExecAdded: "/tasks/exec-added",
    TaskExecStarted: "/tasks/exec-started",
    TaskPaused: "/tasks/paused",
    TaskResumed: "/tasks/resumed",
    TaskCheckpointed: "/tasks/checkpointed",
}


def _same(one: tuple[object, ...], other: object) -> bool:
    """Whether two events are equal: the same values in another kind of event are not the same."""
    return isinstance(other, tuple) and type(one) is type(other) and tuple.__eq__(one, other)


def _different(one: tuple[object, ...], other: object) -> bool:
    return not _same(one, other)


for _kind in (*TOPICS, ContainerRuntime, TaskIO):
    for _name, _function in (("__eq__", _same), ("__ne__", _different), ("__hash__", tuple.__hash__)):
        setattr(_kind, _name, _function)


@attrs.frozen
class Envelope:
    """An event on its way (containerd.types.Envelope). ``event`` is a record from here or an already encoded value."""

    timestamp: datetime
    namespace: str
    topic: str
    event: object


class Subscription(Protocol):
    """Iterate it on the event loop; closing it ends the iteration."""

    def __aiter__(self) -> AsyncIterator[Envelope]: ...

    def close(self) -> None: ...


class EventBus(Protocol):
    """``io.containerd.event.v1.exchange``."""

    def publish(self, namespace: str, event: object, topic: str = "") -> None:
        """Publish a record (topic from `TOPICS`) or an `AnyValue` with a topic. From any thread; never blocks."""
        ...

    def forward(self, envelope: Envelope) -> None:
        """Publish an envelope as it came from a shim."""
        ...

    def screen(self, admit: Callable[[Envelope], bool]) -> None:
        """Ask ``admit`` before each event, in whatever thread it comes; what it refuses reaches nobody."""
        ...

    def subscribe(self, filters: Sequence[str] = ()) -> Subscription:
        """From the event loop. An unknown filter raises `InvalidArgument`."""
        ...
