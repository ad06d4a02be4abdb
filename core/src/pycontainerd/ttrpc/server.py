"""A ttrpc server on asyncio: services are objects as in contracts/service.py, unary methods only."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from pycontainerd.api.status import to_code
from pycontainerd.contracts.errors import ContainerdError, DeadlineExceeded, Internal, InvalidArgument, NotImplemented
from pycontainerd.contracts.service import Call, RpcService

from .frames import REQUEST, RESPONSE, Decoder, Frame, ProtocolError, RemoteProtocolError, encode
from .wire_pb2 import Request, Response, Status

log = logging.getLogger("containerd.ttrpc")
_CHUNK = 1 << 16

_Handler = tuple[Any, Callable[[Any, Call], Any]]


class Server:
    """Serves ``services`` on any number of connections."""

    def __init__(self, services: Iterable[RpcService]) -> None:
        self._handlers: dict[tuple[str, str], _Handler] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.AbstractServer] = []
        for service in services:
            self._add(service)

    def _add(self, service: RpcService) -> None:
        for method in descriptor_pool.Default().FindServiceByName(service.SERVICE).methods:
            handler = getattr(service, method.name, None)
            if handler is not None and not method.client_streaming and not method.server_streaming:
                request = message_factory.GetMessageClass(method.input_type)
                self._handlers[service.SERVICE, method.name] = (request, handler)

    async def listen(self, sock: socket.socket) -> None:
        """Serve on the listening unix socket ``sock``."""
        self._servers.append(await asyncio.start_unix_server(self._connected, sock=sock))

    async def close(self) -> None:
        """Take no more connections and end those there are."""
        for server in self._servers:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # `close`
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        calls: set[asyncio.Task[None]] = set()
        last = 0
        try:
            while data := await reader.read(_CHUNK):
                for frame in decoder.receive(data):
                    if frame.type != REQUEST or frame.stream % 2 == 0 or frame.stream <= last:
                        raise RemoteProtocolError(f"the peer sent type {frame.type} on stream {frame.stream}")
                    last = frame.stream
                    task = asyncio.ensure_future(self._answer(frame, writer))
                    calls.add(task)
                    task.add_done_callback(calls.discard)
        except (OSError, ProtocolError) as exc:
            log.warning("ttrpc connection ended", extra={"fields": {"error": str(exc)}})
        finally:
            for task in calls:
                task.cancel()

    async def _answer(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        response = Response()
        try:
            request = Request.FromString(frame.data)
            response.payload = await self._run(request)
        except ContainerdError as exc:
            response.status.CopyFrom(Status(code=to_code(exc), message=str(exc)))
        except DecodeError as exc:
            response.status.CopyFrom(
                Status(code=to_code(InvalidArgument("")), message=f"the request cannot be read: {exc}")
            )
        except Exception as exc:  # a bug: said to both sides, and the shim goes on
            log.error("ttrpc call failed unexpectedly", exc_info=exc)
            error = Internal(f"{type(exc).__name__}: {exc}")
            response.status.CopyFrom(Status(code=to_code(error), message=str(error)))
        with contextlib.suppress(OSError):  # the caller has gone: nobody to tell
            writer.write(encode(Frame(frame.stream, RESPONSE, 0, response.SerializeToString())))
            await writer.drain()

    async def _run(self, request: Request) -> bytes:
        found = self._handlers.get((request.service, request.method))
        if found is None:
            raise NotImplemented(f"method {request.service}/{request.method} is not served here")
        kind, handler = found
        message = kind.FromString(request.payload)
        call = Call({pair.key.lower(): pair.value for pair in request.metadata})
        timeout = request.timeout_nano / 1e9 if request.timeout_nano > 0 else None
        try:
            answer = await asyncio.wait_for(_invoke(handler, message, call), timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"{request.service}/{request.method} took longer than {timeout:g} s") from None
        return bytes(answer.SerializeToString())


def _invoke(handler: Callable[[Any, Call], Any], message: Any, call: Call) -> Awaitable[Any]:
    if inspect.iscoroutinefunction(handler):
        return handler(message, call)
    return asyncio.to_thread(handler, message, call)


def listener(path: str, backlog: int = 128) -> socket.socket:
    """A listening unix socket at ``path``, non-blocking, closed on exec."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.bind(path)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
