"""The zygote: a small process with everything imported that a shim needs, which forks a shim per request.

It has one thread and no event loop. It ends when its daemon's end of the control socket closes, however the daemon
died. Its children are the shims; SIGCHLD is ignored, so that the kernel buries them.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any

# The TLS library that asyncio would load for its own use costs more than the rest of a shim.
_hidden = sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
import asyncio  # noqa: E402, F401

if _hidden is None:
    del sys.modules["ssl"]

from pycontainerd.contracts.errors import ContainerdError, Internal, InvalidArgument, NotFound, Unavailable  # noqa: E402
from pycontainerd.contracts.shim import ShimStart  # noqa: E402
from pycontainerd.ttrpc.server import listener  # noqa: E402

from . import process  # noqa: E402
from .protocol import MAX_MESSAGE  # noqa: E402
from .rehearsal import rehearse  # noqa: E402
from .title import set_title  # noqa: E402

_PYTHON = ctypes.PyDLL(None, use_errno=True)  # keeps the lock of the interpreter during a call
_FIELDS = ("namespace", "id", "bundle", "publish_address", "socket", "driver", "debug")


def main(descriptor: int) -> None:
    """Answer requests on the control socket until it ends."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    _name()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # of the daemon's terminal or service; the zygote ends with its daemon
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    rehearse()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    process.set_up_log()
    _settle()
    while True:
        try:
            message = control.recv(MAX_MESSAGE)
        except OSError:
            return
        if not message:
            return
        start = _answer(control, message)
        if start is not None:  # we are the child
            control.close()
            process.run(*start)
            os._exit(0)


def _name() -> None:
    try:
        with open(f"/proc/{os.getppid()}/cmdline", "rb") as file:
            daemon = os.fsdecode(file.read().replace(b"\0", b" ").strip())
    except OSError:
        daemon = ""
    set_title("ctrd-zygote", f"containerd-zygote of: {daemon}")


def _settle() -> None:
    """Move all objects out of the collector's sight: it would write to pages that shims share."""
    gc.collect()
    gc.disable()
    gc.freeze()


def _answer(control: socket.socket, message: bytes) -> tuple[ShimStart, Any, socket.socket] | None:
    """Handle one request; in the child, what it shall run."""
    answer: dict[str, object] = {"number": 0}
    try:
        fields = json.loads(message)
        answer["number"] = fields["number"]
        request = ShimStart(**{name: fields[name] for name in _FIELDS})
        driver = load_driver(request.driver, fields["path"])
        child = _fork(request)
        if isinstance(child, socket.socket):
            return request, driver, child
        answer["pid"] = child
    except ContainerdError as exc:
        answer.update(code=exc.code, error=exc.message, hint=exc.hint)
    except Exception as exc:
        answer.update(code=Internal.code, error=f"the zygote failed: {type(exc).__name__}: {exc}", hint="")
    try:
        control.send(json.dumps(answer).encode())
    except OSError:
        pass  # the daemon is gone; the next recv says so
    return None


def load_driver(name: str, path: list[str] | None = None) -> Any:
    """The object that ``package.module:attribute`` names.

    :raises InvalidArgument: it is not such a name.
    :raises NotFound: it cannot be imported.
    """
    module, separator, attribute = name.partition(":")
    if not (module and separator and attribute):
        raise InvalidArgument(f"driver {name!r} is not of the form package.module:attribute")
    known = module in sys.modules
    for directory in path or ():
        if directory not in sys.path:
            sys.path.append(directory)
            importlib.invalidate_caches()
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as exc:
        raise NotFound(
            f"cannot import the runtime driver {name!r}: {type(exc).__name__}: {exc}",
            hint="is the runtime's package installed in the daemon's environment?",
        ) from exc
    if not known:
        _settle()
    return found


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


def _fork(request: ShimStart) -> int | socket.socket:
    """Fork; the pid in the parent, the listening socket in the child.

    It listens before the fork: the daemon may connect as soon as it has the answer.
    """
    if not os.path.isdir(request.bundle):
        raise NotFound(f"cannot start a shim for {request.id!r}: there is no bundle {request.bundle}")
    bound = listener(request.socket)
    try:
        bound.listen(128)
        pid = _plain_fork()
    except OSError as exc:
        bound.close()
        os.unlink(request.socket)
        raise Unavailable(f"cannot start a shim for {request.id!r}: fork: {exc.strerror}") from exc
    if pid == 0:
        return bound
    bound.close()
    return pid


if __name__ == "__main__":
    # Under its own name: what the module holds must not exist twice.
    from pycontainerd.shim import nursery

    nursery.main(int(sys.argv[2]))
