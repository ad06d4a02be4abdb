"""The zygote: a small process with everything imported that a shim needs, which forks a shim per request.

It has one thread. It ends when its daemon's end of the control socket closes, however the daemon died. Its children are
the shims; SIGCHLD is ignored, so that the kernel buries them.

Between two forks it does next to nothing, and a new shim reads its request by itself: a page that the zygote writes to is
one that the next shim does not share with those before it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import socket
import sys

from pycontainerd.contracts.errors import ContainerdError, Internal, InvalidArgument, NotFound, Unavailable

from . import files, protocol
from .process import Prepared, run, settle, take
from .rehearsal import rehearse
from .title import set_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

_PYTHON = ctypes.PyDLL(None, use_errno=True)  # keeps the lock of the interpreter during a call
_START = protocol.encode(protocol.START, "")
# What a shim needs only now and then. Imported last, so that it does not lie between what every shim needs.
_SELDOM = ("json", "pycontainerd.shim.console", "pycontainerd.shim.metrics", "pycontainerd.shim.stats")


def main(descriptor: int) -> None:
    """Answer requests on the control socket until it ends."""
    settle(descriptor)
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    rehearse()
    for module in _SELDOM:
        importlib.import_module(module)
    _name()
    prepared = Prepared()
    drivers: dict[str, Any] = {}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _settle()
    while True:
        try:
            message = control.recv(protocol.MAX_MESSAGE)
        except OSError:
            return
        if not message:
            return
        if not message.startswith(_START):
            _load(control, message, drivers)
            continue
        try:
            pid = _plain_fork()
        except OSError as exc:
            _tell(control, message, Unavailable(f"the zygote cannot fork: {exc.strerror}"))
        else:
            if pid == 0:
                _become(control, message, prepared, drivers)


def _name() -> None:
    try:
        daemon = os.fsdecode(files.read(f"/proc/{os.getppid()}/cmdline").replace(b"\0", b" ").strip())
    except OSError:
        daemon = ""
    set_title("ctrd-zygote", f"containerd-zygote of: {daemon}")


def _settle() -> None:
    """Move all objects out of the collector's sight: it would write to pages that shims share."""
    gc.collect()
    gc.disable()
    gc.freeze()


def _plain_fork() -> int:
    """fork(2) without what Python does after it: with one thread no lock is held and no thread state is stale, and its
    work writes to a third of a megabyte of pages that shims shall share.

    :raises OSError: the kernel refuses.
    """
    pid = int(_PYTHON.fork())
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return pid


def _become(control: socket.socket, message: bytes, prepared: Prepared, drivers: Mapping[str, Any]) -> NoReturn:
    """In the child: be the shim that ``message`` asks for."""
    try:
        order, driver, listening = take(control, message, drivers)
    except Exception as exc:
        _tell(control, message, exc)
        os._exit(1)
    run(prepared, order, driver, listening)
    os._exit(0)


def _load(control: socket.socket, message: bytes, drivers: dict[str, Any]) -> None:
    """Import a driver for all shims to come."""
    _, number, name, *path = protocol.decode(message)
    try:
        drivers[name] = load_driver(name, path)
    except Exception as exc:
        _tell(control, message, exc)
        return
    _settle()
    protocol.send(control, number, "0")


def _tell(control: socket.socket, message: bytes, exc: Exception) -> None:
    """Answer with an error."""
    error = exc if isinstance(exc, ContainerdError) else Internal(f"the zygote failed: {type(exc).__name__}: {exc}")
    protocol.send(control, protocol.decode(message)[1], "", error.code, error.message, error.hint)


def load_driver(name: str, path: Sequence[str] = ()) -> Any:
    """The object that ``package.module:attribute`` names.

    :raises InvalidArgument: it is not such a name.
    :raises NotFound: it cannot be imported.
    """
    module, separator, attribute = name.partition(":")
    if not (module and separator and attribute):
        raise InvalidArgument(f"driver {name!r} is not of the form package.module:attribute")
    for directory in path:
        if directory not in sys.path:
            sys.path.append(directory)
            importlib.invalidate_caches()
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as exc:
        raise NotFound(
            f"cannot import the runtime driver {name!r}: {type(exc).__name__}: {exc}",
            hint="is the runtime's package installed in the daemon's environment?",
        ) from exc


if __name__ == "__main__":
    # Under its own name: what the module holds must not exist twice.
    from pycontainerd.shim import nursery

    nursery.main(int(sys.argv[2]))
