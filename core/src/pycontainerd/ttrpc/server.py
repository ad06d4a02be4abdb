"""The asyncio server: services of contracts/service.py over unix sockets.

A client that hangs up has its calls cancelled; a
client that does not read its responses is not read from either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from concurrent.futures import Executor
from typing import cast

from pycontainerd.api.status import NUMBERS
from pycontainerd.contracts.errors import ResourceExhausted
from pycontainerd.contracts.service import RpcService

from .connection import Received, ServerConnection
from .dispatch import TTRPC_NAMESPACE_HEADER, Dispatcher, failure
from .errors import LocalProtocolError, RemoteProtocolError
from .sockets import listener
from .ttrpc_pb2 import Response

__all__ = ["TTRPC_NAMESPACE_HEADER", "Connection", "Server", "listener"]

log = logging.getLogger("containerd.ttrpc")

MAX_UNANSWERED = 8192  # calls per connection


class Server(Dispatcher):
    """Serves on any number of listening sockets. Use from one event loop."""

    def __init__(self, services: Iterable[RpcService], *, executor: Executor | None = None) -> None:
        super().__init__(services, executor)
        self._listeners: list[asyncio.Server] = []
        self._connections: set[Connection] = set()

    async def serve(self, listening: socket.socket) -> None:
        """Accept connections on ``listening``, which is bound and from now on the server's."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_unix_server(self._connect, sock=listening, backlog=128))

    async def attach(self, connected: socket.socket) -> None:
        """Serve one socket that is connected already."""
        await asyncio.get_running_loop().connect_accepted_socket(self._connect, connected)

    def _connect(self) -> Connection:
        return Connection(self)

    async def shutdown(self, grace: float = 5.0) -> None:
        """Accept nothing new, let running calls finish for ``grace`` seconds, then cancel what is left."""
        self._draining = True
        for listening in self._listeners:
            listening.close()
        for connection in list(self._connections):
            connection.close_when_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(connection.closed.wait() for connection in list(self._connections)))
        for connection in list(self._connections):
            connection.abort()

    def opened(self, connection: Connection) -> None:
        """A connection came (called by it)."""
        self._connections.add(connection)

    def gone(self, connection: Connection) -> None:
        """A connection ended (called by it)."""
        self._connections.discard(connection)


class Connection(asyncio.Protocol):
    """One accepted connection: feeds the protocol and keeps a task per call."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._protocol = ServerConnection()
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            for received in self._protocol.receive(data):
                self._start(received)
        except RemoteProtocolError as exc:
            log.warning("closing a connection whose client broke the protocol", extra={"fields": {"error": str(exc)}})
            self._write(self._protocol.complain(exc, NUMBERS[exc.code]))
            self._close()

    def _start(self, received: Received) -> None:
        if len(self._tasks) >= MAX_UNANSWERED:
            error = ResourceExhausted(f"{len(self._tasks)} calls of this connection are under way already")
            self._respond(received.stream, failure(error))
            return
        task = asyncio.ensure_future(self._serve(received))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, received: Received) -> None:
        response = await self._server.answer(received)
        self._respond(received.stream, response)
        if self._closing and not self._protocol.unanswered:
            self._close()

    def _respond(self, stream: int, response: Response) -> None:
        try:
            data = self._protocol.respond(stream, response)
        except LocalProtocolError as exc:
            data = self._protocol.respond(stream, failure(ResourceExhausted(f"the response: {exc}")))
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def close_when_idle(self) -> None:
        """Close as soon as no call waits for its response."""
        self._closing = True
        if not self._protocol.unanswered:
            self._close()

    def abort(self) -> None:
        """Close now; running calls are cancelled."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()
        self._server.gone(self)
        self.closed.set()
