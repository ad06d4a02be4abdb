"""A shim as a process: what is made before the fork, what becomes of the fork, and serving until the end."""

from __future__ import annotations

import gc
import os
import signal

from . import files, log, loop
from .publisher import Publisher
from .rpc import Server
from .service import methods
from .shim import Shim
from .title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .driver import Driver
    from .protocol import Order

_DESCRIPTORS = 1 << 20
_COLLECT = (20000, 50, 100)  # garbage is rare here, and a collection writes to every page with objects
_MAX_SCORE = 1000


class Prepared:
    """A shim that does not know yet whose: all that can be made before the fork."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.shim = Shim(self.publisher)
        self.server = Server(methods(self.shim))

    def assign(self, order: Order, driver: Driver) -> None:
        """Now it knows."""
        self.publisher.address, self.publisher.namespace = order.publish_address, order.namespace
        self.shim.namespace, self.shim.driver = order.namespace, driver


def run(prepared: Prepared, order: Order, driver: Driver, listening: socket.socket) -> None:
    """Be the shim that ``order`` asks for until it is told to shut down."""
    try:
        detach(order)
        prepared.assign(order, driver)
        gc.set_threshold(*_COLLECT)
        gc.enable()
        loop.run(serve(prepared, order, listening))
    except Exception as exc:
        log.failure("the shim failed", exc)
    finally:
        files.unlink(order.socket)


def detach(order: Order) -> None:
    """Leave the session, the directory and the standard streams of whom this was forked from."""
    os.setsid()
    os.umask(0o022)
    os.chdir(order.bundle)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    set_title("containerd-shim", f"containerd-shim -namespace {order.namespace} -id {order.id} -bundle {order.bundle}")
    log.to_bundle(debug=order.debug)


async def serve(prepared: Prepared, order: Order, listening: socket.socket) -> None:
    """Serve until `Shim.stopping`."""
    shim, server = prepared.shim, prepared.server
    shim.reaper.install(subreaper=True)
    server.serve(listening)
    await shim.stopping.wait()
    files.unlink(order.socket)
    await server.shutdown(grace=0.5)
    await prepared.publisher.close()


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


def follow_the_daemon() -> None:
    """Be killed for want of memory just before the daemon would be.

    Containers inherit this score unless their spec says otherwise, so a shim must not hide behind one that is lower.
    """
    path = "/proc/self/oom_score_adj"
    try:
        files.write(path, str(min(int(files.read(path)) + 1, _MAX_SCORE)))
    except (OSError, ValueError) as exc:
        log.debug(f"cannot adjust the OOM score: {exc}")
