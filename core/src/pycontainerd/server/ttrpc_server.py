"""The daemon's ttrpc listener, where shims send their events."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from pycontainerd.contracts.service import RpcService
from pycontainerd.ttrpc.server import Server, listener

from .sockets import prepare_socket


class TtrpcListener:
    """A ttrpc server on one unix socket."""

    def __init__(self, services: Sequence[RpcService]) -> None:
        self._server = Server(services)
        self._path = ""

    async def listen_unix(self, path: str, *, uid: int = 0, gid: int = 0, mode: int = 0o660) -> None:
        """Serve on ``path``; errors as in `prepare_socket`."""
        prepare_socket(path)
        bound = listener(path, mode=mode)
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.chown(path, uid, gid)
        self._path = path
        await self._server.serve(bound)

    async def stop(self) -> None:
        """Let calls under way finish, and remove the socket."""
        await self._server.shutdown(grace=1.0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
