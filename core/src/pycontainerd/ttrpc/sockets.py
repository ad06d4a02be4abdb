"""Sockets that ttrpc servers listen on."""

from __future__ import annotations

import os
import socket

from pycontainerd.contracts.errors import Unavailable


def listener(path: str, *, mode: int = 0o600) -> socket.socket:
    """A socket bound at ``path``, which does not listen yet.

    :raises Unavailable: it cannot be bound.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        bound.bind(path)
        os.chmod(path, mode)  # before it listens: until then nobody can connect
    except OSError as exc:
        bound.close()
        raise Unavailable(f"cannot listen on {path}: {exc.strerror or exc}") from exc
    return bound
