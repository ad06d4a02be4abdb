"""The channel, and callables for every RPC made from the descriptors of the .proto files. Errors are mapped here only."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, message_factory

from pycontainerd.api.status import from_code
from pycontainerd.contracts.errors import ContainerdError, PermissionDenied, Unavailable
from pycontainerd.contracts.service import LEASE_HEADER, NAMESPACE_HEADER

MAX_MESSAGE = 16 << 20  # bytes; the Go containerd's limit in both directions
_NOT_CONNECTED = ("failed to connect", "connection refused", "no such file or directory", "permission denied")

Headers = tuple[tuple[str, str], ...]
_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]


def headers(namespace: str, lease: str = "") -> Headers:
    """The headers of a call in ``namespace``, under ``lease`` unless that is empty."""
    found: Headers = ((NAMESPACE_HEADER, namespace),) if namespace else ()
    return (*found, (LEASE_HEADER, lease)) if lease else found


_CUT_OFF = "Internal error from Core"  # grpc's words for a stream whose other end is gone


class Connection:
    """A channel to the unix socket ``address`` (a path, or ``unix://`` and a path). Use it from one event loop."""

    def __init__(self, address: str) -> None:
        self.path = os.path.abspath(address.removeprefix("unix://"))
        self._callables: dict[str, Any] = {}
        self._channel = grpc.aio.insecure_channel(
            f"unix://{self.path}",
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.max_send_message_length", MAX_MESSAGE),
                # A path is no authority that every server accepts.
                ("grpc.default_authority", "localhost"),
                ("grpc.enable_http_proxy", 0),
            ],
        )

    async def close(self) -> None:
        await self._channel.close(None)

    def callable(self, service: str, method: str) -> Any:
        """The multi-callable of an RPC.

        :raises KeyError: no imported .proto declares it.
        """
        path = f"/{service}/{method}"
        if path not in self._callables:
            found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
            kind = f"{_arity(found.client_streaming)}_{_arity(found.server_streaming)}"
            self._callables[path] = getattr(self._channel, kind)(
                path,
                request_serializer=message_factory.GetMessageClass(found.input_type).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
            )
        return self._callables[path]

    def translate(self, exc: grpc.aio.AioRpcError) -> ContainerdError:
        """The error of the family for a status. Where the socket does not answer it says why."""
        details = exc.details() or ""
        if exc.code() is grpc.StatusCode.UNAVAILABLE and any(text in details.lower() for text in _NOT_CONNECTED):
            return self._unreachable(details)
        if exc.code() is grpc.StatusCode.INTERNAL and details == _CUT_OFF:
            return Unavailable(f"the connection to {self.path} ended in the middle of a call")
        return from_code(exc.code().value[0], details)

    def _unreachable(self, details: str) -> ContainerdError:
        what = f"cannot connect to {self.path}"
        if not os.path.exists(self.path):
            return Unavailable(
                f"{what}: no such socket", hint="is containerd running? --address or CONTAINERD_ADDRESS names another"
            )
        if not os.access(self.path, os.R_OK | os.W_OK):
            return PermissionDenied(f"{what}: permission denied", hint="run as root, or as a member of its group")
        return Unavailable(f"{what}: {details}", hint="is containerd running?")


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"


class Stub:
    """The RPCs of one service, called with fixed headers."""

    def __init__(self, connection: Connection, service: str, metadata: Headers = ()) -> None:
        self._connection = connection
        self._service = service
        self._metadata = metadata

    async def unary(self, method: str, request: Any) -> Any:
        """Call a unary RPC.

        :raises ContainerdError: the class for the status that the server answered.
        """
        try:
            return await self._connection.callable(self._service, method)(request, metadata=self._metadata)
        except grpc.aio.AioRpcError as exc:
            raise self._connection.translate(exc) from None

    async def stream(self, method: str, request: Any) -> AsyncIterator[Any]:
        """Call an RPC that streams its answers; leaving the iteration cancels it."""
        call = self._connection.callable(self._service, method)(request, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as exc:
            raise self._connection.translate(exc) from None
        finally:
            call.cancel()

    def duplex(self, method: str) -> Duplex:
        """Open an RPC that streams both ways."""
        call = self._connection.callable(self._service, method)(metadata=self._metadata)
        return Duplex(self._connection, call)


class Duplex:
    """An RPC under way that streams both ways."""

    def __init__(self, connection: Connection, call: Any) -> None:
        self._connection = connection
        self._call = call

    async def send(self, request: Any) -> None:
        """:raises ContainerdError: the server has ended the call."""
        try:
            await self._call.write(request)
        except grpc.aio.AioRpcError as exc:
            raise self._connection.translate(exc) from None
        except Exception as exc:  # asyncio.InvalidStateError: the call is over; its status says why
            raise await self._status(exc) from None

    async def receive(self) -> Any | None:
        """The next response; None at the end."""
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as exc:
            raise self._connection.translate(exc) from None
        return None if response is _EOF else response

    async def end(self) -> None:
        """Say that no more requests come."""
        try:
            await self._call.done_writing()
        except grpc.aio.AioRpcError as exc:
            raise self._connection.translate(exc) from None
        except Exception as exc:
            raise await self._status(exc) from None

    def cancel(self) -> None:
        self._call.cancel()

    async def _status(self, exc: Exception) -> Exception:
        if not self._call.done():
            return exc
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            return Unavailable("the server ended the stream early")
        return from_code(code.value[0], await self._call.details() or str(exc))
