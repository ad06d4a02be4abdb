"""In the zygote, before the first fork: a container's whole life with a runtime that does next to nothing.

What Python makes on the way (caches, specialised bytecode, free memory of every size) is then on pages that all shims
share, instead of once in each.
"""

from __future__ import annotations

import os
import signal

from pycontainerd.ttrpc.sockets import listener

from . import files, log, loop, messages
from .process import Prepared
from .protocol import Order
from .rpc import Client
from .runc import RuncDriver
from .service import SERVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wire import Message

_TURNS = 9  # the interpreter specialises a function's bytecode after eight calls
_ID = "rehearsal"
_SPEC = b'{"linux": {"namespaces": [{"type": "pid"}]}}'

# The command line of runc: `create` leaves a process behind and its pid in the file, the rest does nothing.
_RUNTIME = b"""#!/bin/sh
for word; do
  [ "$before" = --pid-file ] && file=$word
  before=$word
done
[ -z "$file" ] || { sleep 10 & echo $! >"$file"; }
"""


def rehearse() -> None:
    """Never fails: without it a shim works too, it is only larger."""
    directory = f"/tmp/ctrd-zygote-{os.urandom(8).hex()}"
    try:
        os.mkdir(directory, 0o700)
        files.write_private(f"{directory}/config.json", _SPEC)
        files.write_private(f"{directory}/runtime", _RUNTIME)
        os.chmod(f"{directory}/runtime", 0o700)
        with loop.fresh():
            loop.run(_lives(directory))
    except Exception as exc:
        log.warning(f"the zygote could not rehearse, shims will take more memory: {type(exc).__name__}: {exc}")
    finally:
        _remove(directory)


def _remove(directory: str) -> None:
    try:
        for name in os.listdir(directory):
            files.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    except OSError as exc:
        log.warning(f"the zygote could not remove what it rehearsed in: {exc}")


async def _lives(directory: str) -> None:
    prepared = Prepared()
    path = f"{directory}/s"
    order = Order(_ID, _ID, directory, path, path, "")  # its events go to itself, which refuses them
    prepared.assign(order, RuncDriver(f"{directory}/runtime"))
    prepared.shim.reaper.install(subreaper=True)
    bound = listener(path)
    bound.listen(1)
    prepared.server.serve(bound)
    client = Client.connect(path, name="the rehearsal")
    try:
        for _ in range(_TURNS):
            await _life(client, directory)
    finally:
        client.close()
        await prepared.publisher.close(grace=0)
        await prepared.server.shutdown(grace=0)


async def _life(client: Client, bundle: str) -> None:
    async def call(method: str, request: Message, **fields: Any) -> bytes:
        return await client.call(SERVICES[0], method, request.encode({"id": _ID, **fields}))

    created = await call("Create", messages.CREATE_REQUEST, bundle=bundle)
    try:
        waiting = loop.spawn(call("Wait", messages.WAIT_REQUEST))
        await call("Start", messages.START_REQUEST)
        await call("State", messages.STATE_REQUEST)
        await call("Connect", messages.CONNECT_REQUEST)
        await call("Kill", messages.KILL_REQUEST, signal=int(signal.SIGKILL))
        await waiting
        await call("Delete", messages.DELETE_REQUEST)
    except BaseException:
        try:
            os.kill(messages.CREATE_RESPONSE.decode(created)["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass
        raise
