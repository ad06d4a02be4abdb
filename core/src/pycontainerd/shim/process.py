"""A shim as a process: what is made before the fork, what becomes of the fork, and serving until the end."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket

from pycontainerd.contracts.shim import ShimStart

from . import loop
from .driver import Driver
from .publisher import Publisher
from .rpc import Server
from .service import services
from .shim import Shim
from .title import set_title

log = logging.getLogger("containerd.shim")

_DESCRIPTORS = 1 << 20
_COLLECT = (20000, 50, 100)  # garbage is rare here, and a collection writes to every page with objects
_MAX_SCORE = 1000


class BundleLog(logging.Handler):
    """Writes to the file ``shim.log`` in the bundle, which is made when there is something to say."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            fd = os.open("shim.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(f"{record.levelname.lower()}: {self.format(record)}\n")


class Prepared:
    """A shim that does not know yet whose: all that can be made before the fork."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.shim = Shim(self.publisher)
        self.server = Server(services(self.shim))

    def assign(self, request: ShimStart, driver: Driver) -> None:
        """Now it knows."""
        self.publisher.assign(request.publish_address, request.namespace)
        self.shim.assign(request.namespace, driver)


def run(prepared: Prepared, request: ShimStart, driver: Driver, listening: socket.socket) -> None:
    """Be the shim of ``request`` until it is told to shut down."""
    try:
        detach(request)
        prepared.assign(request, driver)
        gc.set_threshold(*_COLLECT)
        gc.enable()
        loop.run(serve(prepared, request, listening))
    except Exception:
        log.exception("the shim failed")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(request.socket)


def detach(request: ShimStart) -> None:
    """Leave the session, the directory and the standard streams of whom this was forked from."""
    os.setsid()
    os.umask(0o022)
    os.chdir(request.bundle)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    set_title(
        "containerd-shim",
        f"containerd-shim -namespace {request.namespace} -id {request.id} -bundle {request.bundle}",
    )
    if request.debug:
        logging.getLogger().setLevel(logging.DEBUG)


async def serve(prepared: Prepared, request: ShimStart, listening: socket.socket) -> None:
    """Serve until `Shim.stopping`."""
    shim, server = prepared.shim, prepared.server
    shim.reaper.install(subreaper=True)
    server.serve(listening)
    await shim.stopping.wait()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(request.socket)
    await server.shutdown(grace=0.5)
    await shim.close()


def ignore_signals() -> None:
    """A shim ends when its daemon says so; whoever signals a whole group does not mean the containers' keeper."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_descriptors(*keep: int) -> None:
    """Close all above standard error but ``keep``."""
    first = 3
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _DESCRIPTORS)


def log_to_bundle() -> None:
    """From now on what is logged goes to the working directory, which for a shim is its bundle."""
    logging.basicConfig(level=logging.WARNING, handlers=[BundleLog()], force=True)


def follow_the_daemon() -> None:
    """Be killed for want of memory just before the daemon would be.

    Containers inherit this score unless their spec says otherwise, so a shim must not hide behind one that is lower.
    """
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
            score = min(int(file.read()) + 1, _MAX_SCORE)
            file.seek(0)
            file.write(str(score))
    except (OSError, ValueError) as exc:
        log.debug(f"cannot adjust the OOM score: {exc}")
