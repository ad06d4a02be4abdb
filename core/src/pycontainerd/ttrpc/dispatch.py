"""From a call to its response. Coroutine methods run on the event loop, plain ones in the executor."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import attrs
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from pycontainerd.api.status import to_code
from pycontainerd.api.wire import encoded
from pycontainerd.contracts.errors import (
    ContainerdError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotImplemented,
    Unavailable,
)
from pycontainerd.contracts.service import NAMESPACE_HEADER, Call, RpcService

from .connection import Received
from .ttrpc_pb2 import Request, Response

log = logging.getLogger("containerd.ttrpc")

TTRPC_NAMESPACE_HEADER = "containerd-namespace-ttrpc"


@attrs.frozen
class Method:
    """A unary RPC: its request class and the code behind it, plain or a coroutine function."""

    request: Any
    handler: Callable[[Any, Call], Any]
    waits: bool


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
                found[service.SERVICE, method.name] = Method(request, handler, inspect.iscoroutinefunction(handler))
    return found


class Dispatcher:
    """Answers calls."""

    def __init__(self, services: Iterable[RpcService], executor: Executor | None = None) -> None:
        self._executor = executor
        self._methods = unary_methods(services)
        self._names = {service for service, _ in self._methods}
        self._draining = False

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
            return failure(exc)
        except Exception as exc:
            log.exception("ttrpc call failed unexpectedly", extra={"fields": {"method": _path(request)}})
            return failure(Internal(f"{_path(request)}: {type(exc).__name__}: {exc}"))
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
            late = f"{_path(request)} did not finish within the caller's {seconds:g} s"
            raise DeadlineExceeded(late) from None

    async def _run(self, request: Request) -> bytes:
        method = self._methods.get((request.service, request.method))
        if method is None:
            raise NotImplemented(self._missing(request))
        try:
            message = method.request.FromString(request.payload)
        except DecodeError as exc:
            raise InvalidArgument(f"{_path(request)}: the payload is no {method.request.DESCRIPTOR.name}") from exc
        call = Call(_metadata(request))
        if method.waits:
            response = await method.handler(message, call)
        else:
            loop = asyncio.get_running_loop()
            response = await loop.run_in_executor(self._executor, method.handler, message, call)
        return encoded(response)

    def _missing(self, request: Request) -> str:
        if request.service in self._names:
            return f"service {request.service} has no unary method {request.method!r} here"
        return f"unknown service {request.service!r}, this socket serves {', '.join(sorted(self._names)) or 'none'}"


def failure(error: ContainerdError) -> Response:
    """The response that carries ``error``."""
    return Response(status=Status(code=to_code(error), message=str(error)))


def _path(request: Request) -> str:
    return f"{request.service}/{request.method}"


def _metadata(request: Request) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for pair in request.metadata:
        headers.setdefault(pair.key.lower(), pair.value)
    if TTRPC_NAMESPACE_HEADER in headers:
        headers.setdefault(NAMESPACE_HEADER, headers[TTRPC_NAMESPACE_HEADER])
    return headers
