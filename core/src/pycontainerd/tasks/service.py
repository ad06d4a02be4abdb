"""containerd.services.tasks.v1.Tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from pycontainerd.api.anys import to_any, to_record
from pycontainerd.api.convert import mount_records, timestamp
from pycontainerd.api.services.tasks.v1 import tasks_pb2 as pb
from pycontainerd.api.types import metrics_pb2
from pycontainerd.api.types.runc.options import oci_pb2
from pycontainerd.api.types.task import task_pb2
from pycontainerd.contracts.containers import Container, ContainerService
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument, NotFound, NotImplemented
from pycontainerd.contracts.filters import parse
from pycontainerd.contracts.runtime import ProcessState, Status, Stdio, TaskCreation, TaskRuntime
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue, now
from pycontainerd.kernel.context import Logger

RUNC_OPTIONS = "containerd.runc.v1.Options"


class TasksRpc:
    """The gRPC edge of `TaskRuntime`."""

    SERVICE = "containerd.services.tasks.v1.Tasks"

    def __init__(self, tasks: TaskRuntime, containers: ContainerService, log: Logger) -> None:
        self._tasks = tasks
        self._containers = containers
        self._log = log

    async def Create(self, request: pb.CreateTaskRequest, call: Call) -> pb.CreateTaskResponse:
        store = self._containers.scoped(call.scope)
        container = await asyncio.to_thread(store.get, request.container_id)
        pid = await self._tasks.create(call.namespace, _creation(request, container))
        return pb.CreateTaskResponse(container_id=request.container_id, pid=pid)

    async def Start(self, request: pb.StartRequest, call: Call) -> pb.StartResponse:
        return pb.StartResponse(pid=await self._tasks.start(call.namespace, request.container_id, request.exec_id))

    async def Delete(self, request: pb.DeleteTaskRequest, call: Call) -> pb.DeleteResponse:
        end = await self._tasks.delete(call.namespace, request.container_id)
        return pb.DeleteResponse(pid=end.pid, exit_status=end.status, exited_at=timestamp(end.exited_at))

    async def DeleteProcess(self, request: pb.DeleteProcessRequest, call: Call) -> pb.DeleteResponse:
        if not request.exec_id:
            raise InvalidArgument(f"cannot delete a process of task {request.container_id!r}: no exec id is given")
        end = await self._tasks.delete(call.namespace, request.container_id, request.exec_id)
        return pb.DeleteResponse(
            id=request.exec_id, pid=end.pid, exit_status=end.status, exited_at=timestamp(end.exited_at)
        )

    async def Get(self, request: pb.GetRequest, call: Call) -> pb.GetResponse:
        state = await self._tasks.state(call.namespace, request.container_id, request.exec_id)
        return pb.GetResponse(process=_process(state))

    async def List(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:
        wanted = parse([request.filter] if request.filter else [])
        found = await self._tasks.list(call.namespace)
        return pb.ListTasksResponse(tasks=[_process(one) for one in found if wanted.match(partial(_field, one))])

    async def Kill(self, request: pb.KillRequest, call: Call) -> Empty:
        await self._tasks.kill(
            call.namespace, request.container_id, request.signal, request.exec_id, everyone=request.all
        )
        return Empty()

    async def Exec(self, request: pb.ExecProcessRequest, call: Call) -> Empty:
        stdio = Stdio(request.stdin, request.stdout, request.stderr, request.terminal)
        spec = AnyValue(request.spec.type_url, request.spec.value)
        await self._tasks.exec(call.namespace, request.container_id, request.exec_id, spec, stdio)
        return Empty()

    async def ResizePty(self, request: pb.ResizePtyRequest, call: Call) -> Empty:
        await self._tasks.resize(call.namespace, request.container_id, request.width, request.height, request.exec_id)
        return Empty()

    async def CloseIO(self, request: pb.CloseIORequest, call: Call) -> Empty:
        if request.stdin:
            await self._tasks.close_stdin(call.namespace, request.container_id, request.exec_id)
        return Empty()

    async def Pause(self, request: pb.PauseTaskRequest, call: Call) -> Empty:
        await self._tasks.pause(call.namespace, request.container_id)
        return Empty()

    async def Resume(self, request: pb.ResumeTaskRequest, call: Call) -> Empty:
        await self._tasks.resume(call.namespace, request.container_id)
        return Empty()

    async def ListPids(self, request: pb.ListPidsRequest, call: Call) -> pb.ListPidsResponse:
        found = await self._tasks.pids(call.namespace, request.container_id)
        return pb.ListPidsResponse(
            processes=[task_pb2.ProcessInfo(pid=one.pid, info=to_any(one.info)) for one in found]
        )

    async def Checkpoint(self, request: pb.CheckpointTaskRequest, call: Call) -> pb.CheckpointTaskResponse:
        raise NotImplemented(f"cannot checkpoint task {request.container_id!r}: checkpoints are not in this release")

    async def Update(self, request: pb.UpdateTaskRequest, call: Call) -> Empty:
        resources = AnyValue(request.resources.type_url, request.resources.value)
        await self._tasks.update(call.namespace, request.container_id, resources, dict(request.annotations))
        return Empty()

    async def Metrics(self, request: pb.MetricsRequest, call: Call) -> pb.MetricsResponse:
        wanted = parse(list(request.filters))
        names = [
            name for name in self._tasks.ids(call.namespace) if wanted.match(partial(_named, call.namespace, name))
        ]
        found = await asyncio.gather(*(self._metric(call.namespace, name) for name in names))
        return pb.MetricsResponse(metrics=[one for one in found if one is not None])

    async def _metric(self, namespace: str, name: str) -> metrics_pb2.Metric | None:
        collected: datetime = now()
        try:
            stats = await self._tasks.stats(namespace, name)
        except NotFound:
            return None
        except ContainerdError as exc:
            # One task that cannot be measured (it has stopped, say) must not hide the others.
            self._log.debug("a task gives no metrics", id=name, namespace=namespace, error=str(exc))
            return None
        return metrics_pb2.Metric(id=name, timestamp=timestamp(collected), data=to_any(stats))

    async def Wait(self, request: pb.WaitRequest, call: Call) -> pb.WaitResponse:
        end = await self._tasks.wait(call.namespace, request.container_id, request.exec_id)
        return pb.WaitResponse(exit_status=end.status, exited_at=timestamp(end.exited_at))


def _creation(request: pb.CreateTaskRequest, container: Container) -> TaskCreation:
    if request.HasField("checkpoint"):
        raise NotImplemented(
            f"cannot create task {request.container_id!r} from a checkpoint: checkpoints are not in this release"
        )
    options = to_record(request.options) or container.runtime_options
    runc = _runc_options(options)
    return TaskCreation(
        id=container.id,
        runtime=request.runtime_path or container.runtime,
        spec=container.spec,
        rootfs=mount_records(request.rootfs),
        stdio=Stdio(request.stdin, request.stdout, request.stderr, request.terminal),
        options=options,
        checkpoint=runc.criu_image_path,
        address=request.task_api_address or runc.task_api_address,
    )


def _runc_options(options: AnyValue | None) -> oci_pb2.Options:
    """The options where they are runc's; those of other runtimes only their shim understands."""
    if options is None or options.type_url.rpartition("/")[2] != RUNC_OPTIONS:
        return oci_pb2.Options()
    try:
        return oci_pb2.Options.FromString(options.value)
    except DecodeError as exc:
        raise InvalidArgument(f"the runtime's options are no {RUNC_OPTIONS}: {exc}") from exc


def _process(state: ProcessState) -> task_pb2.Process:
    return task_pb2.Process(
        container_id=state.container_id,
        id=state.exec_id or state.container_id,
        pid=state.pid,
        status=task_pb2.Status.Name(state.status),
        stdin=state.stdio.stdin,
        stdout=state.stdio.stdout,
        stderr=state.stdio.stderr,
        terminal=state.stdio.terminal,
        exit_status=state.exit_status,
        exited_at=timestamp(state.exited_at),
    )


def _field(state: ProcessState, path: Sequence[str]) -> str | None:
    match list(path):
        case ["id"]:
            return state.container_id
        case ["pid"]:
            return str(state.pid)
        case ["status"]:
            return Status(state.status).name.lower()
    return None


def _named(namespace: str, name: str, path: Sequence[str]) -> str | None:
    """What a filter on metrics may ask for."""
    match list(path):
        case ["id"]:
            return name
        case ["namespace"]:
            return namespace
    return None
