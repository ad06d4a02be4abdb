"""containerd.task.v2.Task and containerd.task.v3.Task: the same calls with the same messages under two names.

Everything that changes something runs to its end even if the caller hangs up (`loop.spawn`: waiting for a task does not
cancel it): a daemon that is killed must not leave half a container.
"""

from __future__ import annotations

import os

from pycontainerd import __version__
from pycontainerd.contracts.errors import NotFound, NotImplemented

from . import loop, messages
from .messages import pack, stamp
from .states import CREATED, PAUSED, PAUSING_STATUS, RUNNING, STATUS, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .processes import Process
    from .rpc import Method
    from .shim import Shim

    Fields = dict[str, Any]

SERVICES = ("containerd.task.v3.Task", "containerd.task.v2.Task")
_NOTHING: Fields = {}


class TaskService:
    """What the daemon may ask of ``shim``. A method takes the fields of the request and gives those of the response."""

    def __init__(self, shim: Shim) -> None:
        self._shim = shim

    async def create(self, request: Fields) -> Fields:
        return {"pid": await loop.spawn(self._shim.create(request))}

    async def start(self, request: Fields) -> Fields:
        return {"pid": await loop.spawn(self._shim.start(request["id"], request["exec_id"]))}

    async def state(self, request: Fields) -> Fields:
        container = self._shim.container(request["id"])
        process = container.process(request["exec_id"])
        response = {
            "id": process.exec_id or container.id,
            "bundle": container.bundle,
            "pid": process.pid,
            "status": _status(process),
            "exec_id": process.exec_id,
            **process.stdio.fields(),
        }
        return _with_exit(response, process)

    async def exec(self, request: Fields) -> Fields:
        self._shim.add_exec(request)
        return _NOTHING

    async def kill(self, request: Fields) -> Fields:
        work = self._shim.kill(request["id"], request["exec_id"], request["signal"], everyone=request["all"])
        await loop.spawn(work)
        return _NOTHING

    async def pause(self, request: Fields) -> Fields:
        await loop.spawn(self._shim.pause(request["id"]))
        return _NOTHING

    async def resume(self, request: Fields) -> Fields:
        await loop.spawn(self._shim.resume(request["id"]))
        return _NOTHING

    async def checkpoint(self, request: Fields) -> Fields:
        raise NotImplemented(
            f"cannot checkpoint container {request['id']!r}: this shim does not do that yet",
            hint="the Go containerd's shim io.containerd.runc.v2 does, where criu is installed",
        )

    async def resize(self, request: Fields) -> Fields:
        process = self._shim.container(request["id"]).process(request["exec_id"])
        check("resize", process.state, process.name)
        process.io.resize(request["width"], request["height"])
        return _NOTHING

    async def close_io(self, request: Fields) -> Fields:
        process = self._shim.container(request["id"]).process(request["exec_id"])
        if request["stdin"]:
            process.io.close_stdin()
        return _NOTHING

    async def pids(self, request: Fields) -> Fields:
        container = self._shim.container(request["id"])
        execs = {process.pid: process.exec_id for process in container.execs.values() if process.exit is None}
        found = []
        for pid in await container.runtime.pids():
            info = pack(messages.PROCESS_DETAILS, {"exec_id": execs[pid]}) if pid in execs else None
            found.append({"pid": pid, "info": info})
        return {"processes": found}

    async def wait(self, request: Fields) -> Fields:
        process = self._shim.container(request["id"]).process(request["exec_id"])
        await process.finished
        return _with_exit({}, process)

    async def update(self, request: Fields) -> Fields:
        resources = request["resources"]
        await loop.spawn(self._shim.update(request["id"], resources["value"] if resources else b""))
        return _NOTHING

    async def delete(self, request: Fields) -> Fields:
        process = await loop.spawn(self._shim.delete(request["id"], request["exec_id"]))
        return _with_exit({"pid": process.pid}, process)

    async def stats(self, request: Fields) -> Fields:
        from . import cgroup, stats

        container = self._shim.container(request["id"])
        try:
            found = cgroup.of(container.init.pid)
        except OSError as exc:
            raise NotFound(f"cannot read the numbers of container {request['id']!r}: it has ended") from exc
        return {"stats": pack(*stats.read(found))}

    async def connect(self, request: Fields) -> Fields:
        container = self._shim.containers.get(request["id"])
        pid = 0 if container is None else container.init.pid
        return {"shim_pid": os.getpid(), "task_pid": pid, "version": __version__}

    async def shutdown(self, request: Fields) -> Fields:
        if not self._shim.containers and not self._shim.stopping.done:
            self._shim.stopping.settle()
        return _NOTHING


def methods(shim: Shim) -> dict[str, Method]:
    """What a shim serves."""
    task, m = TaskService(shim), messages
    table: dict[str, Method] = {
        "Create": (m.CREATE_REQUEST, m.CREATE_RESPONSE, task.create),
        "Start": (m.START_REQUEST, m.START_RESPONSE, task.start),
        "State": (m.STATE_REQUEST, m.STATE_RESPONSE, task.state),
        "Exec": (m.EXEC_REQUEST, m.EMPTY, task.exec),
        "Kill": (m.KILL_REQUEST, m.EMPTY, task.kill),
        "Pause": (m.PAUSE_REQUEST, m.EMPTY, task.pause),
        "Resume": (m.RESUME_REQUEST, m.EMPTY, task.resume),
        "Checkpoint": (m.CHECKPOINT_REQUEST, m.EMPTY, task.checkpoint),
        "ResizePty": (m.RESIZE_REQUEST, m.EMPTY, task.resize),
        "CloseIO": (m.CLOSE_IO_REQUEST, m.EMPTY, task.close_io),
        "Pids": (m.PIDS_REQUEST, m.PIDS_RESPONSE, task.pids),
        "Wait": (m.WAIT_REQUEST, m.WAIT_RESPONSE, task.wait),
        "Update": (m.UPDATE_REQUEST, m.EMPTY, task.update),
        "Delete": (m.DELETE_REQUEST, m.DELETE_RESPONSE, task.delete),
        "Stats": (m.STATS_REQUEST, m.STATS_RESPONSE, task.stats),
        "Connect": (m.CONNECT_REQUEST, m.CONNECT_RESPONSE, task.connect),
        "Shutdown": (m.SHUTDOWN_REQUEST, m.EMPTY, task.shutdown),
    }
    return {f"{service}/{name}": method for service in SERVICES for name, method in table.items()}


def _with_exit(response: Fields, process: Process) -> Fields:
    if process.exit is not None:
        response["exit_status"] = process.exit.status
        response["exited_at"] = stamp(process.exit.at)
    return response


def _status(process: Process) -> int:
    """An exec in a paused container is paused too."""
    container = process.container
    if process.state in (RUNNING, CREATED):
        if container.pausing:
            return PAUSING_STATUS
        if container.init.state == PAUSED:
            return STATUS[PAUSED]
    return STATUS[process.state]
