"""After a restart: which tasks are there, and what happened to them in between."""

from __future__ import annotations

import asyncio

import attrs

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.errors import ContainerdError, DeadlineExceeded, NotFound
from pycontainerd.contracts.events import EventBus, TaskExit
from pycontainerd.contracts.runtime import ProcessState, Status
from pycontainerd.contracts.types import now
from pycontainerd.kernel.context import Logger

from . import bundle as bundles
from . import convert, endpoint
from .bundle import RUNTIME_FILE, Bundle
from .creation import SANDBOX_FILE, open_log
from .deletion import Undertaker
from .journal import Journal
from .launcher import Launchers
from .process import HeldProcess
from .shim import CONNECT_DEADLINE, Shim
from .table import Table
from .task import Phase, Task

_TRIES = 3


@attrs.frozen
class Recovery:
    """One recovery; each task on its own, so that a shim that hangs delays nobody."""

    table: Table
    launchers: Launchers
    undertaker: Undertaker
    events: EventBus
    log: Logger

    async def one(self, task: Task) -> None:
        """Bring ``task`` to LIVE or GONE."""
        async with task.lock:
            try:
                await self._one(task)
            except Exception as exc:
                self.log.error("cannot recover a task", exc=exc, id=task.id)  # noqa: TRY400
                task.live()  # it stays visible, and its calls say what is wrong
        self.undertaker.watch(task)

    async def _one(self, task: Task) -> None:
        assert task.bundle is not None
        if task.bundle.is_empty():
            self.log.info("removing a bundle without config", path=task.bundle.path)
            await self.undertaker.discard(task)
            return
        self._find_launcher(task, task.bundle)
        task.journal = await asyncio.to_thread(Journal.load, task.bundle)
        try:
            await self._connect(task, task.bundle)
        except ContainerdError as exc:
            self.log.warning("a shim died meanwhile", id=task.id, namespace=task.namespace, error=str(exc))
            await self.undertaker.bury(task)
            return
        try:
            await self._catch_up(task)
        except NotFound:
            self.log.info("removing a task that was never created", id=task.id, namespace=task.namespace)
            await self.undertaker.discard(task)
            return
        except ContainerdError as exc:
            self.log.warning("a task does not tell its state", id=task.id, namespace=task.namespace, error=str(exc))
        task.live()

    def _find_launcher(self, task: Task, bundle: Bundle) -> None:
        task.guest = bool(bundle.read(SANDBOX_FILE))
        runtime = bundle.read(RUNTIME_FILE).strip()
        try:
            task.launcher = self.launchers.find(runtime) if runtime else None
        except ContainerdError as exc:
            self.log.warning("the runtime of a task is gone", id=task.id, namespace=task.namespace, error=str(exc))
        if task.launcher is not None and task.launcher.logs:
            task.log = open_log(bundle, self.log)

    async def _connect(self, task: Task, bundle: Bundle) -> None:
        kept = await asyncio.to_thread(endpoint.recall, bundle)
        if kept is None:
            raise NotFound(f"{task.name}: no shim ever came up")
        for attempt in range(1, _TRIES + 1):
            try:
                shim = await Shim.connect(
                    bundle, kept, lambda: self.undertaker.disconnected(task), timeout=CONNECT_DEADLINE
                )
                break
            except DeadlineExceeded:
                # It listens but takes no connection: too busy, or hung. Its container may be well: no haste.
                if attempt == _TRIES:
                    raise
        task.shim = shim
        try:
            found = await shim.call("Connect", pb.ConnectRequest(id=task.id), pb.ConnectResponse, CONNECT_DEADLINE)
        except (NotFound, DeadlineExceeded):
            return
        task.pid = found.task_pid
        task.init = HeldProcess.find(found.task_pid)
        task.process = HeldProcess.find(found.shim_pid)

    async def _catch_up(self, task: Task) -> None:
        """Publish the exits that nobody heard of."""
        assert task.journal is not None
        state = await self._state(task, "")
        self._tell(task, state)
        for exec_id in sorted(task.journal.execs):
            try:
                self._tell(task, await self._state(task, exec_id))
            except NotFound:
                task.journal.removed(exec_id)

    async def _state(self, task: Task, exec_id: str) -> ProcessState:
        request = pb.StateRequest(id=task.id, exec_id=exec_id)
        return convert.state(task.id, exec_id, await task.call("State", request, pb.StateResponse))

    def _tell(self, task: Task, state: ProcessState) -> None:
        # The bus refuses it where the journal has it already, and a shim's repetition after it.
        if state.status is Status.STOPPED:
            event = TaskExit(task.id, state.exec_id or task.id, state.pid, state.exit_status, state.exited_at or now())
            self.events.publish(task.namespace, event)


async def begin(recovery: Recovery, root: str, state: str) -> None:
    """Reserve the names of all tasks on disk, then recover them in the background."""

    def look() -> tuple[list[Bundle], list[str]]:
        return list(bundles.scan(root, state)), list(bundles.orphans(root, state))

    found, orphans = await asyncio.to_thread(look)
    for bundle in found:
        task = Task(bundle.namespace, bundle.id, Phase.RECOVERING, bundle=bundle)
        recovery.table.add(task)
        recovery.table.spawn(recovery.one(task))
    if orphans:
        recovery.log.info("removing working directories without a bundle", count=len(orphans))
        recovery.table.spawn(asyncio.to_thread(bundles.remove, orphans))
