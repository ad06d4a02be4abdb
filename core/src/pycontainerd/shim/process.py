"""A shim as a process: what is made before the fork, what becomes of the fork, and serving until the end."""

from __future__ import annotations

import gc
import os
import signal
from gc import enable
from os import dup2, setsid

from pycontainerd.contracts.errors import NotFound
from pycontainerd.ttrpc.sockets import listener

from . import files, log
from .log import to_bundle
from .loop import run as run_loop
from .protocol import Order, decode, send
from .publisher import Publisher
from .rpc import Server
from .service import methods
from .shim import Shim
from .title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from .driver import Driver

_DESCRIPTORS = 1 << 20
_COLLECT = (20000, 50, 100)  # garbage is rare here, and a collection writes to every page with objects
_MAX_SCORE = 1000


class Prepared:
    """A shim that does not know yet whose: all that can be made before the fork."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.shim = Shim(self.publisher)
        self.server = Server(methods(self.shim))


def settle(*keep: int) -> None:
    """Make of this process what shims are forked from: it has no streams and no descriptors but ``keep``, and signals do
    not end it: a shim ends when its daemon says so, who signals a whole group does not mean the containers' keeper."""
    first = 3
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _DESCRIPTORS)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.set_threshold(*_COLLECT)
    _follow_the_daemon()


def _follow_the_daemon() -> None:
    """Be killed for want of memory just before the daemon would be.

    Containers inherit this score unless their spec says otherwise, so a shim must not hide behind one that is lower.
    """
    path = "/proc/self/oom_score_adj"
    try:
        files.write(path, str(min(int(files.read(path)) + 1, _MAX_SCORE)))
    except (OSError, ValueError) as exc:
        log.debug(f"cannot adjust the OOM score: {exc}")


def take(control: socket.socket, message: bytes, drivers: Mapping[str, Driver]) -> tuple[Order, Driver, socket.socket]:
    """What ``message`` asks for, its driver and its socket. It is answered, and ``control`` closed.

    :raises ContainerdError: see `listen`.
    """
    _, number, *fields = decode(message)
    order = Order(*fields)
    driver = drivers[order.driver]
    listening = listen(order)
    send(control, number, str(os.getpid()))
    control.close()
    return order, driver, listening


def listen(order: Order) -> socket.socket:
    """Go to the bundle; the socket of a new shim. It listens before the order is answered: the daemon may connect at once.

    :raises NotFound: there is no bundle.
    :raises Unavailable: it cannot be bound.
    """
    try:
        os.chdir(order.bundle)
    except OSError as exc:
        raise NotFound(f"cannot start a shim for {order.id!r}: there is no bundle {order.bundle}") from exc
    bound = listener(order.socket)
    bound.listen(128)
    return bound


def run(prepared: Prepared, order: Order, driver: Driver, listening: socket.socket) -> None:
    """Be the shim that ``order`` asks for until it is told to shut down.

    What it calls is imported by name: it cannot be rehearsed, and an attribute that is looked up for the first time after
    the fork costs pages.
    """
    try:
        setsid()
        dup2(0, 2)
        to_bundle(debug=order.debug)
        enable()
        run_loop(serve(prepared, order, driver, listening))
    except Exception as exc:
        log.failure("the shim failed", exc)
    finally:
        files.unlink(order.socket)


async def serve(prepared: Prepared, order: Order, driver: Driver, listening: socket.socket) -> None:
    """Serve until `Shim.stopping`."""
    set_title("containerd-shim", f"containerd-shim -namespace {order.namespace} -id {order.id} -bundle {order.bundle}")
    publisher, shim, server = prepared.publisher, prepared.shim, prepared.server
    publisher.address, publisher.namespace = order.publish_address, order.namespace
    shim.namespace, shim.driver = order.namespace, driver
    shim.reaper.install(subreaper=True)
    server.serve(listening)
    await shim.stopping
    files.unlink(order.socket)
    await server.shutdown(grace=0.5)
    await publisher.close()
