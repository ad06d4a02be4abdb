"""Making way for a unix socket without pushing a running daemon off it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument

MAX_SOCKET_PATH = 107  # bytes of sun_path in unix(7), without the final NUL


def prepare_socket(path: str) -> None:
    """Make way for a socket at ``path``: its directory is there, and a stale socket is not.

    A socket that answers belongs to a running daemon and is left alone.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise InvalidArgument(
            f"socket path {path!r} is longer than {MAX_SOCKET_PATH} bytes", hint="choose a shorter address"
        )
    os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise FailedPrecondition(f"cannot use socket {path}: {exc.strerror or exc}") from exc
        else:
            raise FailedPrecondition(
                f"another process is listening on {path}", hint="stop it, or choose another address"
            )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
