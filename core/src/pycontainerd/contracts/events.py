"""The event bus, and events as records.

Each record is named as its message in ``containerd.events`` (or ``containerd.services.images.v1``), with the same
field names, so that the edge converts it by name. Topics: `TOPICS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from .types import EMPTY, AnyValue, Mount


@attrs.frozen
class ImageCreate:
    name: str
    labels: Mapping[str, str] = EMPTY


@attrs.frozen
class ImageUpdate:
    name: str
    labels: Mapping[str, str] = EMPTY


@attrs.frozen
class ImageDelete:
    name: str


@attrs.frozen
class ContentCreate:
    digest: str
    size: int


@attrs.frozen
class ContentDelete:
    digest: str


@attrs.frozen
class SnapshotPrepare:
    key: str
    parent: str = ""
    snapshotter: str = ""


@attrs.frozen
class SnapshotCommit:
    key: str
    name: str
    snapshotter: str = ""


@attrs.frozen
class SnapshotRemove:
    key: str
    snapshotter: str = ""


@attrs.frozen
class NamespaceCreate:
    name: str
    labels: Mapping[str, str] = EMPTY


@attrs.frozen
class NamespaceUpdate:
    name: str
    labels: Mapping[str, str] = EMPTY


@attrs.frozen
class NamespaceDelete:
    name: str


@attrs.frozen
class ContainerRuntime:
    name: str = ""
    options: AnyValue | None = None


@attrs.frozen
class ContainerCreate:
    id: str
    image: str = ""
    runtime: ContainerRuntime | None = None


@attrs.frozen
class ContainerUpdate:
    id: str
    image: str = ""
    labels: Mapping[str, str] = EMPTY
    snapshot_key: str = ""


@attrs.frozen
class ContainerDelete:
    id: str


@attrs.frozen
class TaskIO:
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


@attrs.frozen
class TaskCreate:
    container_id: str
    bundle: str = ""
    rootfs: Sequence[Mount] = ()
    io: TaskIO | None = None
    checkpoint: str = ""
    pid: int = 0


@attrs.frozen
class TaskStart:
    container_id: str
    pid: int


@attrs.frozen
class TaskDelete:
    container_id: str
    pid: int
    exit_status: int
    exited_at: datetime
    id: str = ""


@attrs.frozen
class TaskExit:
    container_id: str
    id: str
    pid: int
    exit_status: int
    exited_at: datetime


@attrs.frozen
class TaskOOM:
    container_id: str


@attrs.frozen
class TaskExecAdded:
    container_id: str
    exec_id: str


@attrs.frozen
class TaskExecStarted:
    container_id: str
    exec_id: str
    pid: int


@attrs.frozen
class TaskPaused:
    container_id: str


@attrs.frozen
class TaskResumed:
    container_id: str


@attrs.frozen
class TaskCheckpointed:
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
