"""`contracts.runtime.TaskRuntime`: tasks, each in the care of a shim.

Theory of operation. A name is reserved by a `Task` in the table before anything of it is made, and freed after everything
of it is gone; so two attempts never meet on disk. What a call needs from a container its shim knows: calls go there,
with a deadline, and nothing is cached that a shim could contradict. The connection to a shim is also how its death is
noticed: then `burial` removes what is left and says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.anys import to_any, to_record
from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from pycontainerd.contracts.events import EventBus
from pycontainerd.contracts.runtime import Exit, ProcessInfo, ProcessState, Status, Stdio, TaskCreation
from pycontainerd.contracts.service import validate_identifier
from pycontainerd.contracts.types import EMPTY, AnyValue
from pycontainerd.kernel.context import Logger

from . import convert, recovery
from .creation import Creator
from .deletion import Undertaker
from .edits import SpecEdits
from .launcher import KILLED, Launchers
from .screen import admits
from .table import Table
from .task import Phase, Task

MAX_SIGNAL = 64

T = TypeVar("T")


class TaskManager:
    """Make it on the event loop; `recover` it, use it, `close` it there."""

    def __init__(
        self,
        root: str,
        state: str,
        launchers: Launchers,
        events: EventBus,
        log: Logger,
        edits: SpecEdits | None = None,
    ) -> None:
        self._table = Table()
        self._log = log
        self._root = root
        self._state = state
        self._launchers = launchers
        self._undertaker = Undertaker(self._table, events, log)
        self._creator = Creator(root, state, launchers, self._undertaker, log, edits or SpecEdits())
        self._events = events
        events.screen(lambda envelope: admits(self._table, envelope))

    async def recover(self) -> None:
        """Find the tasks that a run of the daemon before this one left; returns before they are connected."""
        for directory in (self._root, self._state):
            os.makedirs(directory, mode=0o711, exist_ok=True)
        await recovery.begin(
            recovery.Recovery(self._table, self._launchers, self._undertaker, self._events, self._log),
            self._root,
            self._state,
        )

    async def close(self) -> None:
        """Let go of all shims; they live on."""
        await self._table.close()

    # Life and death.

    async def create(self, namespace: str, creation: TaskCreation) -> int:
        validate_identifier(creation.id, "task id")
        if (old := self._table.get(namespace, creation.id)) is not None:
            await old.settled.wait()
        task = Task(namespace, creation.id, Phase.CREATING)
        if not self._table.add(task):
            there = self._table.get(namespace, creation.id)
            phase = there.phase.value if there is not None else "there"
            raise AlreadyExists(f"cannot create {task.name}: it exists already ({phase})")
        return await self._carry_out(self._creator.create(task, creation))

    async def delete(self, namespace: str, id: str, exec_id: str = "") -> Exit:  # noqa: A002
        task = await self._find(namespace, id)
        if not exec_id:
            return await self._carry_out(self._undertaker.delete(task))
        found = await task.call("Delete", pb.DeleteRequest(id=id, exec_id=exec_id), pb.DeleteResponse)
        if task.journal is not None:
            task.journal.removed(exec_id)
        return convert.ended(found.pid, found.exit_status, found.exited_at)

    async def _carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` to its end even if the caller goes away: half a creation or deletion is none."""
        return await asyncio.shield(self._table.spawn(work))

    async def start(self, namespace: str, id: str, exec_id: str = "") -> int:  # noqa: A002
        task = await self._find(namespace, id)
        found = await task.call("Start", pb.StartRequest(id=id, exec_id=exec_id), pb.StartResponse)
        return found.pid

    async def exec(self, namespace: str, id: str, exec_id: str, spec: AnyValue, stdio: Stdio) -> None:  # noqa: A002
        validate_identifier(exec_id, "exec id")
        task = await self._find(namespace, id)
        request = pb.ExecProcessRequest(
            id=id,
            exec_id=exec_id,
            terminal=stdio.terminal,
            stdin=stdio.stdin,
            stdout=stdio.stdout,
            stderr=stdio.stderr,
            spec=to_any(spec),
        )
        await task.call("Exec", request, Empty)
        if task.journal is not None:
            task.journal.added(exec_id)

    async def kill(
        self,
        namespace: str,
        id: str,  # noqa: A002
        signal: int,
        exec_id: str = "",
        *,
        everyone: bool = False,
    ) -> None:
        if not 0 <= signal <= MAX_SIGNAL:
            raise InvalidArgument(f"{signal} is not the number of a signal")
        task = await self._find(namespace, id)
        await task.call("Kill", pb.KillRequest(id=id, exec_id=exec_id, signal=signal, all=everyone), Empty)

    async def wait(self, namespace: str, id: str, exec_id: str = "") -> Exit:  # noqa: A002
        task = await self._find(namespace, id)
        try:
            found = await task.call("Wait", pb.WaitRequest(id=id, exec_id=exec_id), pb.WaitResponse)
        except Unavailable:
            if task.shim is None or not task.shim.closed:
                raise
            end = await task.outlive()
            known = task.journal.last(exec_id) if task.journal is not None else None
            if known is not None:
                return Exit(known[0].pid, known[1], known[0].exited_at)
            return end if not exec_id else Exit(0, KILLED, end.exited_at)
        return convert.ended(0 if exec_id else task.pid, found.exit_status, found.exited_at)

    # What there is.

    async def state(self, namespace: str, id: str, exec_id: str = "") -> ProcessState:  # noqa: A002
        task = await self._find(namespace, id)
        found = await task.call("State", pb.StateRequest(id=id, exec_id=exec_id), pb.StateResponse)
        return convert.state(id, exec_id, found)

    async def list(self, namespace: str) -> Sequence[ProcessState]:
        found = await asyncio.gather(*(self._listed(namespace, id) for id in self.ids(namespace)))  # noqa: A001
        return [one for one in found if one is not None]

    async def _listed(self, namespace: str, id: str) -> ProcessState | None:  # noqa: A002
        try:
            return await self.state(namespace, id)
        except NotFound:
            return None  # it has gone since the list was made
        except (Unavailable, DeadlineExceeded) as exc:
            self._log.warning("a task is listed without its state", id=id, namespace=namespace, error=str(exc))
            return ProcessState(id, "", 0, Status.UNKNOWN, Stdio())
        except ContainerdError as exc:
            self._log.error("a task is listed without its state", id=id, namespace=namespace, error=str(exc))
            return ProcessState(id, "", 0, Status.UNKNOWN, Stdio())

    def ids(self, namespace: str) -> Sequence[str]:
        return [
            task.id
            for task in self._table.all()
            if task.namespace == namespace and task.phase in (Phase.LIVE, Phase.RECOVERING)
        ]

    async def pids(self, namespace: str, id: str) -> Sequence[ProcessInfo]:  # noqa: A002
        task = await self._find(namespace, id)
        found = await task.call("Pids", pb.PidsRequest(id=id), pb.PidsResponse)
        return [ProcessInfo(one.pid, to_record(one.info)) for one in found.processes]

    async def stats(self, namespace: str, id: str) -> AnyValue:  # noqa: A002
        task = await self._find(namespace, id)
        found = await task.call("Stats", pb.StatsRequest(id=id), pb.StatsResponse)
        return AnyValue(found.stats.type_url, found.stats.value)

    # What can be done to it.

    async def pause(self, namespace: str, id: str) -> None:  # noqa: A002
        task = await self._find(namespace, id)
        await task.call("Pause", pb.PauseRequest(id=id), Empty)

    async def resume(self, namespace: str, id: str) -> None:  # noqa: A002
        task = await self._find(namespace, id)
        await task.call("Resume", pb.ResumeRequest(id=id), Empty)

    async def resize(self, namespace: str, id: str, width: int, height: int, exec_id: str = "") -> None:  # noqa: A002
        task = await self._find(namespace, id)
        request = pb.ResizePtyRequest(id=id, exec_id=exec_id, width=width, height=height)
        await task.call("ResizePty", request, Empty)

    async def close_stdin(self, namespace: str, id: str, exec_id: str = "") -> None:  # noqa: A002
        task = await self._find(namespace, id)
        await task.call("CloseIO", pb.CloseIORequest(id=id, exec_id=exec_id, stdin=True), Empty)

    async def update(
        self,
        namespace: str,
        id: str,  # noqa: A002
        resources: AnyValue,
        annotations: Mapping[str, str] = EMPTY,
    ) -> None:
        task = await self._find(namespace, id)
        request = pb.UpdateTaskRequest(id=id, resources=to_any(resources), annotations=dict(annotations))
        await task.call("Update", request, Empty)

    async def _find(self, namespace: str, id: str) -> Task:  # noqa: A002
        """The task, once it is known what became of it after a restart."""
        task = self._table.get(namespace, id)
        if task is not None and task.phase is not Phase.CREATING:
            await task.settled.wait()
        if task is None or task.phase not in (Phase.LIVE, Phase.DELETING):
            raise NotFound(f"task {id!r} in namespace {namespace!r}: not found")
        return task
