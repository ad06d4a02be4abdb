"""In the zygote, before the first fork: a container's whole life with a runtime that does next to nothing.

What Python makes on the way (caches, specialised bytecode, free memory of every size) is then on pages that all shims
share, instead of once in each.
"""

from __future__ import annotations

import os
import signal
import socket

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.ttrpc.sockets import listener

from . import files, log, loop, messages, process, protocol, publisher
from .bundle import mount_rootfs
from .rpc import Client, Server
from .runc import RuncDriver
from .service import SERVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wire import Message

_TURNS = 9  # the interpreter specialises a function's bytecode after eight calls
_ID = "rehearsal"
_STREAMS = ("stdin", "stdout", "stderr")
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
        for name in _STREAMS:
            os.mkfifo(f"{directory}/{name}", 0o600)
        for _ in range(_TURNS):
            with loop.fresh():
                loop.run(_both(directory))
    except Exception as exc:
        log.warning(f"the zygote could not rehearse, shims will take more memory: {type(exc).__name__}: {exc}")
    finally:
        os.chdir("/")
        _remove(directory)


def _remove(directory: str) -> None:
    try:
        for name in os.listdir(directory):
            path = f"{directory}/{name}"
            if name == "rootfs":
                os.rmdir(path)
            else:
                os.unlink(path)
        os.rmdir(directory)
    except OSError as exc:
        log.warning(f"the zygote could not remove what it rehearsed in: {exc}")


async def _both(directory: str) -> None:
    """The daemon and a shim of it."""
    events = f"{directory}/events"
    daemon = Server({f"{publisher.SERVICE}/Forward": (messages.FORWARD_REQUEST, messages.EMPTY, _forward)})
    bound = listener(events)
    bound.listen(1)
    daemon.serve(bound)
    try:
        await _life(directory, events)
    finally:
        await daemon.shutdown(grace=0)
        files.unlink(events)


async def _forward(_: dict[str, Any]) -> dict[str, Any]:
    return {}


async def _life(directory: str, events: str) -> None:
    """All that a shim does from the message that asks for it to its end."""
    ours, theirs = socket.socketpair()
    path = f"{directory}/s"
    message = protocol.encode(protocol.START, "1", _ID, _ID, directory, events, path, "", "")
    order, driver, listening = process.take(ours, message, {"": RuncDriver()})
    theirs.close()
    prepared = process.Prepared()
    serving = loop.spawn(process.serve(prepared, order, driver, listening))
    client = Client.connect(path, name="the rehearsal")
    try:
        await _use(client, directory)
        await serving
    finally:  # all descriptors go, whatever went wrong: shims would inherit them
        client.close()
        await prepared.server.shutdown(grace=0)
        await prepared.publisher.close(grace=0)


async def _use(client: Client, bundle: str) -> None:
    async def call(method: str, request: Message, **fields: Any) -> bytes:
        return await client.call(SERVICES[0], method, request.encode({"id": _ID, **fields}))

    try:
        mount_rootfs(
            [{"type": "bind", "source": f"{bundle}/nowhere", "target": "", "options": ("rbind", "ro")}], bundle
        )
    except ContainerdError:
        pass  # there is nothing to mount
    options = messages.pack(messages.RUNC_OPTIONS, {"binary_name": f"{bundle}/runtime"})
    streams = {name: f"{bundle}/{name}" for name in _STREAMS}
    created = await call("Create", messages.CREATE_REQUEST, bundle=bundle, options=options, **streams)
    try:
        waiting = loop.spawn(call("Wait", messages.WAIT_REQUEST))
        await call("Start", messages.START_REQUEST)
        await call("State", messages.STATE_REQUEST)
        await call("Connect", messages.CONNECT_REQUEST)
        await call("Stats", messages.STATS_REQUEST)
        await call("Kill", messages.KILL_REQUEST, signal=int(signal.SIGKILL))
        await waiting
        await call("Delete", messages.DELETE_REQUEST)
        await call("Shutdown", messages.SHUTDOWN_REQUEST)
    except BaseException:
        try:
            os.kill(messages.CREATE_RESPONSE.decode(created)["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass
        raise
