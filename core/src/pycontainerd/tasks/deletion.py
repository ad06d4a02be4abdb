"""The end of tasks: deleted by a client, given up while being created, or lost with their shim."""

from __future__ import annotations

import asyncio
import contextlib
import os

import attrs

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.errors import ContainerdError, NotFound, Unavailable
from pycontainerd.contracts.events import EventBus, TaskDelete, TaskExit
from pycontainerd.contracts.runtime import Exit
from pycontainerd.contracts.types import now
from pycontainerd.kernel.context import Logger

from . import convert
from .launcher import KILLED
from .table import Table
from .task import Phase, Task


@attrs.frozen
class Undertaker:
    """Removes tasks from the table, and what they were from the machine."""

    table: Table
    events: EventBus
    log: Logger

    async def delete(self, task: Task) -> Exit:
        """Delete a stopped task.

        :raises FailedPrecondition: it runs.
        """
        async with task.lock:
            if task.phase is not Phase.LIVE:
                raise NotFound(f"{task.name}: not found")
            try:
                found = await task.call("Delete", pb.DeleteRequest(id=task.id), pb.DeleteResponse)
            except NotFound:
                # Its shim has forgotten it: an earlier deletion was cut short after that.
                exit_ = _known(task)
                if exit_ is None:
                    exit_ = Exit(task.pid, KILLED, now())
                await self._remove(task, exit_)
                return exit_
            except Unavailable:
                if task.shim is None or not task.shim.closed:
                    raise
            else:
                exit_ = convert.ended(found.pid, found.exit_status, found.exited_at)
                await self._remove(task, exit_)
                return exit_
        # Its shim died just now, so `bury` is on its way and answers.
        return await task.outlive()

    async def discard(self, task: Task) -> None:
        """Remove what there is of a task that did not come to be. The lock is held."""
        task.phase = Phase.DELETING
        if task.shim is not None:
            try:
                await task.call("Delete", pb.DeleteRequest(id=task.id), pb.DeleteResponse, 5.0)
            except ContainerdError as exc:
                self.log.debug("a shim does not give up its task", id=task.id, error=str(exc))
            await task.stop_shim(shared=self.table.shares(task))
            # A runtime that was interrupted leaves what its shim knows nothing of: records, cgroups.
            await self._clean(task)
        elif task.process is not None:
            task.process.kill()
        await self._remove(task, None, shim_done=True)

    def watch(self, task: Task) -> None:
        """From now on the end of its connection is its end; it may have come already."""
        if task.shim is not None and task.shim.closed:
            self.disconnected(task)

    def disconnected(self, task: Task) -> None:
        """The connection to the shim of ``task`` has ended."""
        if task.phase is Phase.LIVE and not self.table.closing:
            self.table.spawn(self._lost(task))

    async def _lost(self, task: Task) -> None:
        async with task.lock:
            if task.phase is Phase.LIVE:
                self.log.warning("a shim is gone", id=task.id, namespace=task.namespace)
                await self.bury(task)

    async def bury(self, task: Task) -> None:
        """Remove what a dead shim left and tell the world. The lock is held."""
        task.phase = Phase.DELETING
        if task.process is not None and not task.guest and not self.table.shares(task):
            task.process.kill()  # it may have closed its connection without ending
        known = _known(task)
        cleaned = await self._clean(task)
        exit_ = known or cleaned
        await self._remove(task, exit_, shim_done=True)
        if known is None:
            self.events.publish(task.namespace, TaskExit(task.id, task.id, exit_.pid, exit_.status, exit_.exited_at))
        self.events.publish(task.namespace, TaskDelete(task.id, exit_.pid, exit_.status, exit_.exited_at))

    async def _clean(self, task: Task) -> Exit:
        """Have the runtime remove a container whose shim is dead."""
        if task.launcher is not None and task.bundle is not None:
            try:
                found = await task.launcher.delete(task.bundle)
                return attrs.evolve(found, pid=found.pid or task.pid)
            except ContainerdError as exc:
                self.log.warning(
                    "cannot clean up after a dead shim", id=task.id, namespace=task.namespace, error=str(exc)
                )
        if task.init is not None:
            task.init.kill()  # at least nothing of it runs on unseen
        return Exit(task.pid, KILLED, now())

    async def _remove(self, task: Task, exit_: Exit | None, *, shim_done: bool = False) -> None:
        """Everything of ``task`` goes, its name last. The lock is held."""
        task.phase = Phase.DELETING
        shared = self.table.shares(task)
        if not shim_done:
            await task.stop_shim(shared=shared)
        if task.bundle is not None:
            try:
                await asyncio.to_thread(task.bundle.delete)
            except (ContainerdError, OSError) as exc:
                self.log.warning("cannot remove a bundle", path=task.bundle.path, error=str(exc))
        if task.shim is not None and not shared and not task.guest:
            _unlink(task.shim.endpoint.path)
        self.table.remove(task)
        task.end(exit_)


def _known(task: Task) -> Exit | None:
    """The exit that was published already."""
    found = task.journal.last() if task.journal is not None else None
    return None if found is None else Exit(found[0].pid, found[1], found[0].exited_at)


def _unlink(path: str) -> None:
    if not path.startswith("\0"):
        with contextlib.suppress(OSError):  # it went with the shim, which is the usual case
            os.unlink(path)
