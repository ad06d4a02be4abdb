"""containerd.task.v2.Task and containerd.task.v3.Task: the same calls with the same messages under two names.

Everything that changes something runs to its end even if the caller hangs up: a daemon that is killed must not leave half
a container.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any as AnyType
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty

from pycontainerd import __version__
from pycontainerd.api.anys import pack, to_record
from pycontainerd.api.convert import mount_records
from pycontainerd.api.runtime.task.v2 import shim_pb2 as v2
from pycontainerd.api.runtime.task.v3 import shim_pb2 as v3
from pycontainerd.api.types.runc.options.oci_pb2 import ProcessDetails
from pycontainerd.api.types.task.task_pb2 import ProcessInfo
from pycontainerd.contracts.errors import NotFound, NotImplemented
from pycontainerd.contracts.runtime import Status, Stdio, TaskCreation
from pycontainerd.contracts.service import Call, RpcService

from . import cgroup, loop, stats
from .processes import Process
from .shim import Shim, stamp
from .states import STATUS, State, check

T = TypeVar("T")


class TaskService:
    """One of the two; ``pb`` has its messages."""

    def __init__(self, shim: Shim, service: str, pb: AnyType) -> None:
        self.SERVICE = service
        self._shim = shim
        self._pb = pb

    async def _finish(self, work: Coroutine[AnyType, AnyType, T]) -> T:
        # Waiting for a task does not cancel it: it goes on when the caller has hung up.
        return await loop.spawn(work)

    async def Create(self, request: v3.CreateTaskRequest, call: Call) -> AnyType:
        creation = TaskCreation(
            id=request.id,
            runtime="",
            rootfs=mount_records(request.rootfs),
            stdio=_stdio(request),
            options=to_record(request.options),
            checkpoint=request.checkpoint,
        )
        return self._pb.CreateTaskResponse(pid=await self._finish(self._shim.create(creation, request.bundle)))

    async def Start(self, request: v3.StartRequest, call: Call) -> AnyType:
        return self._pb.StartResponse(pid=await self._finish(self._shim.start(request.id, request.exec_id)))

    async def State(self, request: v3.StateRequest, call: Call) -> AnyType:
        container = self._shim.container(request.id)
        process = container.process(request.exec_id)
        stdio = process.stdio
        response = self._pb.StateResponse(
            id=process.event_id,
            bundle=container.bundle,
            pid=process.pid,
            status=int(_status(process)),
            stdin=stdio.stdin,
            stdout=stdio.stdout,
            stderr=stdio.stderr,
            terminal=stdio.terminal,
            exec_id=process.exec_id,
        )
        if process.exit is not None:
            response.exit_status = process.exit.status
            response.exited_at.CopyFrom(stamp(process.exit.at))
        return response

    async def Exec(self, request: v3.ExecProcessRequest, call: Call) -> Empty:
        self._shim.add_exec(request.id, request.exec_id, request.spec.value, _stdio(request))
        return Empty()

    async def Kill(self, request: v3.KillRequest, call: Call) -> Empty:
        await self._finish(self._shim.kill(request.id, request.exec_id, request.signal, everyone=request.all))
        return Empty()

    async def Pause(self, request: v3.PauseRequest, call: Call) -> Empty:
        await self._finish(self._shim.pause(request.id))
        return Empty()

    async def Resume(self, request: v3.ResumeRequest, call: Call) -> Empty:
        await self._finish(self._shim.resume(request.id))
        return Empty()

    async def Checkpoint(self, request: v3.CheckpointTaskRequest, call: Call) -> Empty:
        raise NotImplemented(
            f"cannot checkpoint container {request.id!r}: this shim does not do that yet",
            hint="the Go containerd's shim io.containerd.runc.v2 does, where criu is installed",
        )

    async def ResizePty(self, request: v3.ResizePtyRequest, call: Call) -> Empty:
        process = self._shim.container(request.id).process(request.exec_id)
        check("resize", process.state, process.name)
        process.io.resize(request.width, request.height)
        return Empty()

    async def CloseIO(self, request: v3.CloseIORequest, call: Call) -> Empty:
        process = self._shim.container(request.id).process(request.exec_id)
        if request.stdin:
            process.io.close_stdin()
        return Empty()

    async def Pids(self, request: v3.PidsRequest, call: Call) -> AnyType:
        container = self._shim.container(request.id)
        execs = {process.pid: process.exec_id for process in container.execs.values() if process.exit is None}
        response = self._pb.PidsResponse()
        for pid in await container.runtime.pids():
            info = pack(ProcessDetails(exec_id=execs[pid])) if pid in execs else None
            response.processes.append(ProcessInfo(pid=pid, info=info))
        return response

    async def Wait(self, request: v3.WaitRequest, call: Call) -> AnyType:
        process = self._shim.container(request.id).process(request.exec_id)
        await process.finished.wait()
        return self._with_exit(self._pb.WaitResponse(), process)

    async def Update(self, request: v3.UpdateTaskRequest, call: Call) -> Empty:
        await self._finish(self._shim.update(request.id, request.resources.value))
        return Empty()

    async def Delete(self, request: v3.DeleteRequest, call: Call) -> AnyType:
        process = await self._finish(self._shim.delete(request.id, request.exec_id))
        return self._with_exit(self._pb.DeleteResponse(pid=process.pid), process)

    @staticmethod
    def _with_exit(response: AnyType, process: Process) -> AnyType:
        if process.exit is not None:
            response.exit_status = process.exit.status
            response.exited_at.CopyFrom(stamp(process.exit.at))
        return response

    async def Stats(self, request: v3.StatsRequest, call: Call) -> AnyType:
        container = self._shim.container(request.id)
        try:
            found = cgroup.of(container.init.pid)
        except OSError as exc:
            raise NotFound(f"cannot read the numbers of container {request.id!r}: it has ended") from exc
        value: Any = pack(stats.read(found))
        return self._pb.StatsResponse(stats=value)

    async def Connect(self, request: v3.ConnectRequest, call: Call) -> AnyType:
        container = self._shim.containers.get(request.id)
        pid = 0 if container is None else container.init.pid
        return self._pb.ConnectResponse(shim_pid=os.getpid(), task_pid=pid, version=__version__)

    async def Shutdown(self, request: v3.ShutdownRequest, call: Call) -> Empty:
        if not self._shim.containers:
            self._shim.stopping.set()
        return Empty()


def _stdio(request: AnyType) -> Stdio:
    return Stdio(request.stdin, request.stdout, request.stderr, request.terminal)


def _status(process: Process) -> Status:
    """An exec in a paused container is paused too."""
    container = process.container
    if process.state in (State.RUNNING, State.CREATED):
        if container.pausing:
            return Status.PAUSING
        if container.init.state is State.PAUSED:
            return Status.PAUSED
    return STATUS[process.state]


def services(shim: Shim) -> list[RpcService]:
    """What a shim serves."""
    return [
        TaskService(shim, "containerd.task.v3.Task", v3),
        TaskService(shim, "containerd.task.v2.Task", v2),
    ]
