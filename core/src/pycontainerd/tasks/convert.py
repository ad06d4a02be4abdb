"""Messages of shims to records."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from pycontainerd.api.anys import to_any
from pycontainerd.api.convert import moment, mount_messages
from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.runtime import Exit, ProcessState, Status, Stdio, TaskCreation
from pycontainerd.contracts.types import now

from .bundle import Bundle


def create_request(creation: TaskCreation, bundle: Bundle) -> pb.CreateTaskRequest:
    stdio = creation.stdio
    return pb.CreateTaskRequest(
        id=creation.id,
        bundle=bundle.path,
        rootfs=mount_messages(creation.rootfs),
        terminal=stdio.terminal,
        stdin=stdio.stdin,
        stdout=stdio.stdout,
        stderr=stdio.stderr,
        checkpoint=creation.checkpoint,
        options=to_any(creation.options),
    )


def state(id: str, exec_id: str, found: pb.StateResponse) -> ProcessState:  # noqa: A002
    number = int(found.status)
    status = Status(number) if number in Status.__members__.values() else Status.UNKNOWN
    return ProcessState(
        container_id=id,
        exec_id=exec_id,
        pid=found.pid,
        status=status,
        stdio=Stdio(found.stdin, found.stdout, found.stderr, found.terminal),
        exit_status=found.exit_status,
        # Shims of Go send the year 1 for what has not ended.
        exited_at=moment(found.exited_at) if found.exited_at.seconds > 0 else None,
        bundle=found.bundle,
    )


def ended(pid: int, status: int, exited_at: Timestamp) -> Exit:
    return Exit(pid, status, moment(exited_at) if exited_at.seconds > 0 else now())
