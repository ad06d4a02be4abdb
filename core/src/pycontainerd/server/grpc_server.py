"""The gRPC server: dispatch, error mapping, unix and TCP listeners."""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from pycontainerd.api.status import to_code
from pycontainerd.api.wire import encoded
from pycontainerd.contracts.service import Call, RpcService

from . import rpc
from .sockets import prepare_socket

_CODES = {code.value[0]: code for code in grpc.StatusCode}

if TYPE_CHECKING:
    _GenericHandler = grpc.GenericRpcHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
else:
    _GenericHandler = grpc.GenericRpcHandler


class Dispatcher(_GenericHandler):
    """Finds the handler of a method; what is not served is answered with the reason ``explain(path)`` gives.

    ``services`` are those that are up, now and later.
    """

    def __init__(
        self, services: Mapping[str, RpcService], pool: ThreadPoolExecutor, explain: Callable[[str], str]
    ) -> None:
        self._services = services
        self._pool = pool
        self._explain = explain
        self._served: list[RpcService] = []
        self._handlers: dict[str, tuple[str, RpcService, grpc.RpcMethodHandler[Any, Any]]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        found = self._handlers.get(handler_call_details.method)
        if found is None or self._services.get(found[0]) is not found[1]:
            self._look()
            found = self._handlers.get(handler_call_details.method)
        if found is not None:
            return found[2]
        reason = self._explain(handler_call_details.method)

        async def refuse(_requests: Any, context: Context) -> AsyncIterator[bytes]:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, reason)
            yield b""  # never reached: it makes this an async generator, as grpc wants of a stream

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _look(self) -> None:
        """Which services are up has changed, or somebody asks for what is in none."""
        found = dict(self._services)
        served = list(found.values())
        if len(served) != len(self._served) or any(map(operator.is_not, served, self._served)):
            self._served = served
            self._handlers = {
                method.path: (id_, service, _method_handler(method, self._pool))
                for id_, service in found.items()
                for method in rpc.methods(service)
                if method.handler is not None
            }


def _call(context: Context) -> Call:
    pairs = context.invocation_metadata() or ()
    return Call({key: value for key, value in pairs if isinstance(value, str)})


async def _abort(context: Context, exc: Exception, path: str) -> None:
    error = rpc.as_containerd_error(exc, path)
    await context.abort(_CODES[to_code(error)], str(error))


def _method_handler(method: rpc.Method, pool: ThreadPoolExecutor) -> grpc.RpcMethodHandler[Any, Any]:
    assert method.handler is not None
    codec = {
        "request_deserializer": method.request.FromString,
        "response_serializer": encoded,
    }
    if method.server_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(_stream_edge(rpc.streaming(method.handler, pool, method.path), method.path), **codec)
    make = grpc.stream_unary_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    return make(_unary_edge(rpc.unary(method.handler, pool, method.path), method.path), **codec)


def _unary_edge(run: Callable[[Any, Call], Awaitable[Any]], path: str) -> Callable[[Any, Context], Awaitable[Any]]:
    async def edge(request: Any, context: Context) -> Any:
        try:
            return await run(request, _call(context))
        except Exception as exc:
            return await _abort(context, exc, path)

    return edge


def _stream_edge(
    run: Callable[[Any, Call], AsyncIterator[Any]], path: str
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def edge(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async with contextlib.aclosing(run(request, _call(context))) as responses:  # type: ignore[type-var]
                async for response in responses:
                    yield response
        except Exception as exc:
            await _abort(context, exc, path)

    return edge


class GrpcServer:
    """A grpc.aio server over a `Dispatcher`. Use from the event loop."""

    def __init__(self, dispatcher: Dispatcher, *, max_receive: int, max_send: int) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_receive),
                ("grpc.max_send_message_length", max_send),
                ("grpc.so_reuseport", 0),
            ]
        )
        self._server.add_generic_rpc_handlers((dispatcher,))
        self._paths: list[str] = []

    def listen_unix(self, path: str, *, uid: int = 0, gid: int = 0, mode: int = 0o660) -> None:
        """Serve on the unix socket ``path``.

        :raises InvalidArgument: the path is longer than a socket address holds.
        :raises FailedPrecondition: another process is listening there.
        """
        prepare_socket(path)
        self._server.add_insecure_port(f"unix:{path}")
        os.chmod(path, mode)
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.chown(path, uid, gid)
        self._paths.append(path)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace: float = 2.0) -> None:
        """Take no new calls, give running ones ``grace`` seconds, remove the sockets."""
        await self._server.stop(grace)
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
