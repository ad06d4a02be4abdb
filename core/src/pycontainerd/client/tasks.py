"""Tasks and their processes, by id. `client.task` has them as objects with their I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from pycontainerd.api.anys import to_any, to_record
from pycontainerd.api.convert import moment, mount_messages
from pycontainerd.api.services.tasks.v1 import tasks_pb2 as pb
from pycontainerd.api.types.task import task_pb2
from pycontainerd.contracts.runtime import Exit, ProcessInfo, ProcessState, Status, Stdio
from pycontainerd.contracts.types import EMPTY, AnyValue, Mount

from .service import Service


@attrs.frozen
class Metric:
    """What a task uses, as the runtime encodes it."""

    id: str
    timestamp: datetime
    data: AnyValue


class Tasks(Service):
    """The tasks of one namespace. An empty ``exec_id`` is the task's first process."""

    SERVICE = "containerd.services.tasks.v1.Tasks"

    async def create(
        self, container_id: str, rootfs: Sequence[Mount], stdio: Stdio, options: AnyValue | None = None
    ) -> int:
        """Create the task of a container; returns the pid of its first process, which waits for `start`."""
        request = pb.CreateTaskRequest(
            container_id=container_id,
            rootfs=mount_messages(rootfs),
            options=to_any(options),
            stdin=stdio.stdin,
            stdout=stdio.stdout,
            stderr=stdio.stderr,
            terminal=stdio.terminal,
        )
        found: pb.CreateTaskResponse = await self._stub.unary("Create", request)
        return found.pid

    async def start(self, container_id: str, exec_id: str = "") -> int:
        request = pb.StartRequest(container_id=container_id, exec_id=exec_id)
        found: pb.StartResponse = await self._stub.unary("Start", request)
        return found.pid

    async def exec(self, container_id: str, exec_id: str, spec: AnyValue, stdio: Stdio) -> None:
        """Add a process (a runtime-spec Process as JSON); it runs from `start` on."""
        request = pb.ExecProcessRequest(
            container_id=container_id,
            exec_id=exec_id,
            spec=to_any(spec),
            stdin=stdio.stdin,
            stdout=stdio.stdout,
            stderr=stdio.stderr,
            terminal=stdio.terminal,
        )
        await self._stub.unary("Exec", request)

    async def get(self, container_id: str, exec_id: str = "") -> ProcessState:
        request = pb.GetRequest(container_id=container_id, exec_id=exec_id)
        found: pb.GetResponse = await self._stub.unary("Get", request)
        return _process(found.process)

    async def list(self) -> list[ProcessState]:
        found: pb.ListTasksResponse = await self._stub.unary("List", pb.ListTasksRequest())
        return [_process(item) for item in found.tasks]

    async def kill(self, container_id: str, signal: int, exec_id: str = "", *, everything: bool = False) -> None:
        """Send ``signal`` to a process, or with ``everything`` to all of the container."""
        request = pb.KillRequest(container_id=container_id, exec_id=exec_id, signal=signal, all=everything)
        await self._stub.unary("Kill", request)

    async def wait(self, container_id: str, exec_id: str = "") -> Exit:
        """Wait for a process to end."""
        request = pb.WaitRequest(container_id=container_id, exec_id=exec_id)
        found: pb.WaitResponse = await self._stub.unary("Wait", request)
        return Exit(0, found.exit_status, moment(found.exited_at))

    async def delete(self, container_id: str, exec_id: str = "") -> Exit:
        """Forget a process that has ended (or was never started); with the first one the task is gone.

        :raises FailedPrecondition: it is running.
        """
        found: pb.DeleteResponse
        if exec_id:
            request = pb.DeleteProcessRequest(container_id=container_id, exec_id=exec_id)
            found = await self._stub.unary("DeleteProcess", request)
        else:
            found = await self._stub.unary("Delete", pb.DeleteTaskRequest(container_id=container_id))
        return Exit(found.pid, found.exit_status, moment(found.exited_at))

    async def resize(self, container_id: str, width: int, height: int, exec_id: str = "") -> None:
        request = pb.ResizePtyRequest(container_id=container_id, exec_id=exec_id, width=width, height=height)
        await self._stub.unary("ResizePty", request)

    async def close_stdin(self, container_id: str, exec_id: str = "") -> None:
        request = pb.CloseIORequest(container_id=container_id, exec_id=exec_id, stdin=True)
        await self._stub.unary("CloseIO", request)

    async def pause(self, container_id: str) -> None:
        await self._stub.unary("Pause", pb.PauseTaskRequest(container_id=container_id))

    async def resume(self, container_id: str) -> None:
        await self._stub.unary("Resume", pb.ResumeTaskRequest(container_id=container_id))

    async def pids(self, container_id: str) -> Sequence[ProcessInfo]:
        """The processes in the container, with what the runtime tells about them."""
        found: pb.ListPidsResponse = await self._stub.unary("ListPids", pb.ListPidsRequest(container_id=container_id))
        return [ProcessInfo(item.pid, to_record(item.info)) for item in found.processes]

    async def update(self, container_id: str, resources: AnyValue, annotations: Mapping[str, str] = EMPTY) -> None:
        """Change limits (runtime-spec LinuxResources as JSON)."""
        request = pb.UpdateTaskRequest(container_id=container_id, resources=to_any(resources), annotations=annotations)
        await self._stub.unary("Update", request)

    async def metrics(self, filters: Sequence[str] = ()) -> Sequence[Metric]:
        found: pb.MetricsResponse = await self._stub.unary("Metrics", pb.MetricsRequest(filters=filters))
        return [Metric(item.id, moment(item.timestamp), to_record(item.data) or AnyValue()) for item in found.metrics]


def _process(value: task_pb2.Process) -> ProcessState:
    container = value.container_id or value.id
    return ProcessState(
        container_id=container,
        exec_id="" if value.id == container else value.id,
        pid=value.pid,
        status=Status(int(value.status)) if int(value.status) in Status.__members__.values() else Status.UNKNOWN,
        stdio=Stdio(value.stdin, value.stdout, value.stderr, value.terminal),
        exit_status=value.exit_status,
        exited_at=moment(value.exited_at) if value.HasField("exited_at") else None,
    )
