"""Becoming a shim: what a fresh copy of the zygote does first, and its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any

from pycontainerd.contracts.shim import ShimStart
from pycontainerd.ttrpc.server import Server

from .driver import Driver
from .publisher import Publisher
from .selector import PlainSelector
from .service import services
from .shim import Shim
from .title import set_title

log = logging.getLogger("containerd.shim")

_DESCRIPTORS = 1 << 20
_OOM_SCORE_ADJ = -999  # containers are to be killed before what keeps them
_COLLECT = (20000, 50, 100)  # garbage is rare here, and a collection writes to every page with objects


class BundleLog(logging.Handler):
    """Writes to the file ``shim.log`` in the bundle, which is made when there is something to say."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            fd = os.open("shim.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(f"{record.levelname.lower()}: {self.format(record)}\n")


def set_up_log() -> None:
    """In the zygote already: it is the same for all shims."""
    root = logging.getLogger()
    if not any(isinstance(handler, BundleLog) for handler in root.handlers):
        root.handlers[:] = [BundleLog()]


def run(request: ShimStart, driver: Driver, listening: socket.socket) -> None:
    """Be the shim of ``request`` until it is told to shut down."""
    try:
        detach(request, listening.fileno())
        _run(serve(request, driver, listening))
    except Exception:
        log.exception("the shim failed")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(request.socket)


def detach(request: ShimStart, *keep: int) -> None:
    """Leave the session, the directory, the descriptors and the signals of whom this was forked from."""
    os.setsid()
    os.umask(0o022)
    os.chdir(request.bundle)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    first = 3
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _DESCRIPTORS)
    # A shim ends when its daemon says so; whoever signals a whole group does not mean the containers' keeper.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_OOM_SCORE_ADJ))
    set_up_log()
    set_title(
        "containerd-shim",
        f"containerd-shim -namespace {request.namespace} -id {request.id} -bundle {request.bundle}",
    )
    if request.debug:
        logging.getLogger().setLevel(logging.DEBUG)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run` in a few lines: every object that its comfort touches is another page that a shim does not share."""
    loop = asyncio.SelectorEventLoop(PlainSelector())
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main)


async def serve(request: ShimStart, driver: Driver, listening: socket.socket) -> None:
    """Serve until `Shim.stopping`."""
    publisher = Publisher(request.publish_address, request.namespace)
    shim = Shim(request.namespace, driver, publisher)
    shim.reaper.install(subreaper=True)
    gc.set_threshold(*_COLLECT)
    gc.enable()
    server = Server(services(shim))
    await server.serve(listening)
    await shim.stopping.wait()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(request.socket)
    await server.shutdown(grace=0.5)
    await shim.close()
