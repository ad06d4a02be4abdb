"""In the zygote, before the first fork: a container's whole life with a runtime that does nothing.

What Python makes on the way (message classes, caches, specialised bytecode, selectors' modules) is then on pages that all
shims share, instead of once in each.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.shim import ShimStart
from pycontainerd.contracts.types import AnyValue
from pycontainerd.ttrpc.sockets import listener

from . import loop
from .driver import Streams
from .process import Prepared
from .reaper import Reaper
from .rpc import Client

log = logging.getLogger("containerd.shim")

_TASK = "containerd.task.v3.Task"
_TURNS = 9  # the interpreter specialises a function's bytecode after eight calls
_ID = "rehearsal"


class _Nothing:
    """A driver and a runtime whose containers are a shell that waits for its input to end."""

    io_uid = io_gid = 0
    shim_cgroup = ""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._bundle = ""
        self._reaper: Reaper | None = None

    def runtime(
        self,
        reaper: Reaper,
        *,
        namespace: str,
        id: str,  # noqa: A002
        bundle: str,
        options: AnyValue | None,
    ) -> _Nothing:
        self._reaper = reaper
        return self

    async def create(self, streams: Streams, pid_file: str) -> None:
        assert self._reaper is not None
        # By way of a program that ends, as a runtime does: the container then comes to the reaper.
        script = 'sleep 100 & echo $! > "$0"'
        _, ended = self._reaper.spawn(["sh", "-c", script, pid_file], descriptors=streams.descriptors)
        await ended

    async def start(self) -> None:
        return

    async def exec(self, exec_id: str, process: bytes, streams: Streams, pid_file: str) -> None:
        return

    async def kill(self, signal: int, *, everyone: bool = False) -> None:
        return

    async def delete(self, *, force: bool = False) -> None:
        return

    async def pause(self) -> None:
        return

    async def resume(self) -> None:
        return

    async def update(self, resources: bytes) -> None:
        return

    async def pids(self) -> Sequence[int]:
        return ()


def rehearse() -> None:
    """Never fails: without it a shim works too, it is only larger."""
    directory = tempfile.mkdtemp(prefix="ctrd-zygote-")
    try:
        with open(os.path.join(directory, "config.json"), "w", encoding="ascii") as file:
            json.dump({"linux": {"namespaces": [{"type": "pid"}]}}, file)
        with loop.fresh():
            loop.run(_lives(directory))
    except Exception as exc:
        log.warning(f"the zygote could not rehearse, shims will take more memory: {type(exc).__name__}: {exc}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _lives(directory: str) -> None:
    prepared = Prepared()
    request = ShimStart(_ID, _ID, directory, os.path.join(directory, "nobody"), os.path.join(directory, "s"), "")
    prepared.assign(request, _Nothing(directory))
    prepared.shim.reaper.install(subreaper=True)
    bound = listener(request.socket)
    bound.listen(1)
    prepared.server.serve(bound)
    client = Client.connect(request.socket, name="the rehearsal")
    try:
        for _ in range(_TURNS):
            await _life(client, directory)
    finally:
        client.close()
        await prepared.publisher.close(grace=0)
        await prepared.server.shutdown(grace=0)


async def _life(client: Client, bundle: str) -> None:
    created = await client.call(_TASK, "Create", pb.CreateTaskRequest(id=_ID, bundle=bundle), pb.CreateTaskResponse)
    try:
        waiting = loop.spawn(client.call(_TASK, "Wait", pb.WaitRequest(id=_ID), pb.WaitResponse))
        await client.call(_TASK, "Start", pb.StartRequest(id=_ID), pb.StartResponse)
        await client.call(_TASK, "State", pb.StateRequest(id=_ID), pb.StateResponse)
        await client.call(_TASK, "Connect", pb.ConnectRequest(id=_ID), pb.ConnectResponse)
        await client.call(_TASK, "Kill", pb.KillRequest(id=_ID, signal=signal.SIGKILL), Empty)
        await waiting
        await client.call(_TASK, "Delete", pb.DeleteRequest(id=_ID), pb.DeleteResponse)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(created.pid, signal.SIGKILL)
        raise
