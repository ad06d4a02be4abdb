"""In the zygote, before the first fork: a container's whole life with a runtime that does next to nothing.

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

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.shim import ShimStart
from pycontainerd.ttrpc.sockets import listener

from . import loop
from .process import Prepared
from .rpc import Client
from .runc import RuncDriver

log = logging.getLogger("containerd.shim")

_TASK = "containerd.task.v3.Task"
_TURNS = 9  # the interpreter specialises a function's bytecode after eight calls
_ID = "rehearsal"


# The command line of runc: `create` leaves a process behind and its pid in the file, the rest does nothing.
_RUNTIME = """#!/bin/sh
for word; do
  [ "$before" = --pid-file ] && file=$word
  before=$word
done
[ -z "$file" ] || { sleep 10 & echo $! >"$file"; }
"""


def rehearse() -> None:
    """Never fails: without it a shim works too, it is only larger."""
    directory = tempfile.mkdtemp(prefix="ctrd-zygote-")
    try:
        with open(os.path.join(directory, "config.json"), "w", encoding="ascii") as file:
            json.dump({"linux": {"namespaces": [{"type": "pid"}]}}, file)
        with open(os.path.join(directory, "runtime"), "w", encoding="ascii") as file:
            file.write(_RUNTIME)
            os.fchmod(file.fileno(), 0o700)
        with loop.fresh():
            loop.run(_lives(directory))
    except Exception as exc:
        log.warning(f"the zygote could not rehearse, shims will take more memory: {type(exc).__name__}: {exc}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _lives(directory: str) -> None:
    prepared = Prepared()
    path = os.path.join(directory, "s")
    request = ShimStart(_ID, _ID, directory, path, path, "")  # its events go to itself, which refuses them
    prepared.assign(request, RuncDriver(os.path.join(directory, "runtime")))
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
