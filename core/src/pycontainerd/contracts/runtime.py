"""Running containers: tasks, as the tasks service and CRI use them, and the runtimes behind them."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from .types import EMPTY, AnyValue, Mount


class Status(enum.IntEnum):
    """What a process is doing (containerd.v1.types.Status)."""

    UNKNOWN = 0
    CREATED = 1
    RUNNING = 2
    STOPPED = 3
    PAUSED = 4
    PAUSING = 5


@attrs.frozen
class Stdio:
    """Where a process reads and writes: paths of FIFOs, or URIs; empty ones are closed."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


@attrs.frozen
class TaskCreation:
    """What `TaskRuntime.create` needs. ``spec`` holds the OCI runtime spec as JSON."""

    id: str
    runtime: str
    spec: AnyValue | None = None
    rootfs: Sequence[Mount] = ()
    stdio: Stdio = Stdio()
    options: AnyValue | None = None
    checkpoint: str = ""
    address: str = ""


@attrs.frozen
class ProcessState:
    """A task, or an exec in one (then ``exec_id`` is set)."""

    container_id: str
    exec_id: str
    pid: int
    status: Status
    stdio: Stdio
    exit_status: int = 0
    exited_at: datetime | None = None
    bundle: str = ""


@attrs.frozen
class Exit:
    """How a process ended. A process that cannot be asked any more is reported as killed (137)."""

    pid: int
    status: int
    exited_at: datetime


@attrs.frozen
class ProcessInfo:
    """A process in a container; ``info`` is the runtime's own."""

    pid: int
    info: AnyValue | None = None


class RuntimeHandler(Protocol):
    """``io.containerd.runtime-handler.v1.*``: claims a runtime name for our own shim.

    ``name`` is the runtime name (``io.containerd.runc.v2``); ``driver`` names what the shim imports to drive it, as
    ``package.module:attribute``.
    """

    name: str
    driver: str


class TaskRuntime(Protocol):
    """``io.containerd.runtime.v2.task``. Used from the daemon's event loop.

    ``exec_id`` selects an exec; empty is the task itself. Every method raises `NotFound` where there is no such task
    or exec, `Unavailable` or `DeadlineExceeded` (naming the shim) where its shim is gone or does not answer. While a
    task is being recovered after a restart of the daemon, calls wait for that.
    """

    async def create(self, namespace: str, creation: TaskCreation) -> int:
        """Make the container without starting it; its pid. When this fails, nothing is left of the attempt.

        :raises AlreadyExists: there is such a task, or one is being created or deleted.
        :raises NotFound: nothing provides the runtime.
        """
        ...

    async def start(self, namespace: str, id: str, exec_id: str = "") -> int:  # noqa: A002
        """Start what was created or added; its pid."""
        ...

    async def state(self, namespace: str, id: str, exec_id: str = "") -> ProcessState: ...  # noqa: A002

    async def list(self, namespace: str) -> Sequence[ProcessState]:
        """Every task of a namespace; those whose shim does not answer have status UNKNOWN."""
        ...

    async def exec(self, namespace: str, id: str, exec_id: str, spec: AnyValue, stdio: Stdio) -> None:  # noqa: A002
        """Add a process; ``spec`` is an OCI process as JSON."""
        ...

    async def kill(
        self,
        namespace: str,
        id: str,  # noqa: A002
        signal: int,
        exec_id: str = "",
        *,
        everyone: bool = False,
    ) -> None: ...

    async def wait(self, namespace: str, id: str, exec_id: str = "") -> Exit:  # noqa: A002
        """How it ended, once it has; the only call without a deadline."""
        ...

    async def delete(self, namespace: str, id: str, exec_id: str = "") -> Exit:  # noqa: A002
        """Remove a stopped exec, or a stopped task with its shim and bundle."""
        ...

    async def pids(self, namespace: str, id: str) -> Sequence[ProcessInfo]: ...  # noqa: A002

    async def pause(self, namespace: str, id: str) -> None: ...  # noqa: A002

    async def resume(self, namespace: str, id: str) -> None: ...  # noqa: A002

    async def resize(self, namespace: str, id: str, width: int, height: int, exec_id: str = "") -> None: ...  # noqa: A002

    async def close_stdin(self, namespace: str, id: str, exec_id: str = "") -> None: ...  # noqa: A002

    async def update(
        self,
        namespace: str,
        id: str,  # noqa: A002
        resources: AnyValue,
        annotations: Mapping[str, str] = EMPTY,
    ) -> None: ...

    async def stats(self, namespace: str, id: str) -> AnyValue:  # noqa: A002
        """The cgroup's numbers (io.containerd.cgroups.v1.Metrics or v2)."""
        ...

    def ids(self, namespace: str) -> Sequence[str]:
        """The names of the tasks of a namespace, without asking any shim."""
        ...
