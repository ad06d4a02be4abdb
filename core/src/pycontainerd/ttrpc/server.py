"""The asyncio server: services of contracts/service.py over unix sockets.

Coroutine methods run on the event loop, plain ones in the executor. A client that hangs up has its calls cancelled; a
client that does not read its responses is not read from either.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any, cast

import attrs
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from pycontainerd.api.status import NUMBERS, to_code
from pycontainerd.contracts.errors import (
    ContainerdError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotImplemented,
    ResourceExhausted,
    Unavailable,
)
from pycontainerd.contracts.service import NAMESPACE_HEADER, Call, RpcService

from .connection import Received, ServerConnection
from .errors import LocalProtocolError, RemoteProtocolError
from .ttrpc_pb2 import Request, Response

log = logging.getLogger("containerd.ttrpc")

TTRPC_NAMESPACE_HEADER = "containerd-namespace-ttrpc"
MAX_UNANSWERED = 8192  # calls per connection


@attrs.frozen
class Method:
    """A unary RPC: its request class and the code behind it."""

    request: Any
    handler: Callable[[Any, Call], Any]


def unary_methods(services: Iterable[RpcService]) -> Mapping[tuple[str, str], Method]:
    """What ``services`` serve, by service and method name. Streaming methods are left out: ttrpc here has none.

    :raises KeyError: no imported .proto declares the service.
    """
    found: dict[tuple[str, str], Method] = {}
    for service in services:
        descriptor = descriptor_pool.Default().FindServiceByName(service.SERVICE)
        for method in descriptor.methods:
            handler = getattr(service, method.name, None)
            if handler is not None and not (method.client_streaming or method.server_streaming):
                request = message_factory.GetMessageClass(method.input_type)
                found[service.SERVICE, method.name] = Method(request, handler)
    return found


class Server:
    """Serves on any number of listening sockets. Use from one event loop."""

    def __init__(self, services: Iterable[RpcService], *, executor: Executor | None = None) -> None:
        self._methods = unary_methods(services)
        self._names = {service for service, _ in self._methods}
        self._executor = executor
        self._listeners: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._draining = False

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
        for listener in self._listeners:
            listener.close()
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

    async def answer(self, received: Received) -> Response:
        """The response to a call, whatever becomes of it; only cancellation passes through."""
        request = received.request
        try:
            if received.error:
                raise NotImplemented(received.error)
            if self._draining:
                raise Unavailable(f"{request.service}/{request.method}: the server is shutting down")
            payload = await self._within(request)
        except ContainerdError as exc:
            log.debug("ttrpc call failed", extra={"fields": {"method": _path(request), "error": str(exc)}})
            return _failure(exc)
        except Exception as exc:
            log.exception("ttrpc call failed unexpectedly", extra={"fields": {"method": _path(request)}})
            return _failure(Internal(f"{_path(request)}: {type(exc).__name__}: {exc}"))
        return Response(status=Status(), payload=payload)

    async def _within(self, request: Request) -> bytes:
        if request.timeout_nano <= 0:
            return await self._run(request)
        seconds = request.timeout_nano / 1e9
        try:
            async with asyncio.timeout(seconds) as deadline:
                return await self._run(request)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceeded(f"{_path(request)} did not finish within the caller's {seconds:g} s") from None

    async def _run(self, request: Request) -> bytes:
        method = self._methods.get((request.service, request.method))
        if method is None:
            raise NotImplemented(self._missing(request))
        try:
            message = method.request.FromString(request.payload)
        except DecodeError as exc:
            raise InvalidArgument(f"{_path(request)}: the payload is no {method.request.DESCRIPTOR.name}") from exc
        call = Call(_metadata(request))
        if inspect.iscoroutinefunction(method.handler):
            response = await method.handler(message, call)
        else:
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._executor, method.handler, message, call)
        return cast(bytes, response.SerializeToString())

    def _missing(self, request: Request) -> str:
        if request.service in self._names:
            return f"service {request.service} has no unary method {request.method!r} here"
        return f"unknown service {request.service!r}, this socket serves {', '.join(sorted(self._names)) or 'none'}"


def _path(request: Request) -> str:
    return f"{request.service}/{request.method}"


def _failure(error: ContainerdError) -> Response:
    return Response(status=Status(code=to_code(error), message=str(error)))


def _metadata(request: Request) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for pair in request.metadata:
        headers.setdefault(pair.key.lower(), pair.value)
    if TTRPC_NAMESPACE_HEADER in headers:
        headers.setdefault(NAMESPACE_HEADER, headers[TTRPC_NAMESPACE_HEADER])
    return headers


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
            self._respond(received.stream, _failure(error))
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
            data = self._protocol.respond(stream, _failure(ResourceExhausted(f"the response: {exc}")))
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


def listener(path: str, *, mode: int = 0o600) -> socket.socket:
    """A socket bound at ``path``, for `Server.serve`.

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
