"""The asyncio client: any number of concurrent calls on one connection."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from google.protobuf.message import DecodeError, Message

from pycontainerd.api.status import from_code
from pycontainerd.contracts.errors import BY_CODE, DeadlineExceeded, Internal, Unavailable
from pycontainerd.contracts.types import EMPTY

from .connection import ClientConnection
from .errors import LocalProtocolError, RemoteProtocolError
from .ttrpc_pb2 import KeyValue, Request, Response

log = logging.getLogger("containerd.ttrpc")

M = TypeVar("M", bound=Message)


class Client(asyncio.Protocol):
    """A connection to a ttrpc server. Make one with `connect` or `attach`; use it from one event loop."""

    def __init__(self, name: str, on_close: Callable[[], None] | None = None) -> None:
        self._name = name
        self._on_close = on_close
        self._protocol = ClientConnection()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._reason = "the connection was closed"
        self._gone = asyncio.Event()

    @classmethod
    async def connect(
        cls, path: str, *, timeout: float = 10.0, name: str = "", on_close: Callable[[], None] | None = None
    ) -> Client:
        """Connect to the unix socket ``path`` (abstract if it starts with a NUL).

        ``name`` is what errors call the peer; ``on_close`` is called once, when the connection has ended for whatever
        reason.

        :raises Unavailable: nobody listens there.
        :raises DeadlineExceeded: it took longer than ``timeout`` seconds.
        """
        shown = name or path.replace("\0", "@")
        try:
            async with asyncio.timeout(timeout):
                client = cls(shown, on_close)
                await asyncio.get_running_loop().create_unix_connection(lambda: client, path)
                return client
        except TimeoutError:
            raise DeadlineExceeded(f"cannot connect to {shown} at {path!r} within {timeout:g} s") from None
        except OSError as exc:
            raise Unavailable(f"cannot connect to {shown} at {path!r}: {exc.strerror or exc}") from exc

    @classmethod
    async def attach(
        cls, connected: socket.socket, *, name: str = "peer", on_close: Callable[[], None] | None = None
    ) -> Client:
        """A client on a socket that is connected already."""
        client = cls(name, on_close)
        await asyncio.get_running_loop().create_unix_connection(lambda: client, sock=connected)
        return client

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._gone.is_set()

    async def wait_closed(self) -> None:
        """Return when the connection has ended."""
        await self._gone.wait()

    def close(self) -> None:
        """End the connection; calls under way fail with `Unavailable`."""
        if self._transport is not None:
            self._transport.abort()

    async def call(
        self,
        service: str,
        method: str,
        request: Message,
        response_type: type[M],
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] = EMPTY,
    ) -> M:
        """The response to ``service``/``method``; the deadline is told to the server and kept here.

        Cancelling it forgets the call; the server is not told (ttrpc cannot).

        :raises ContainerdError: what the server answered.
        :raises Unavailable: the connection has ended before the answer.
        :raises DeadlineExceeded: no answer within ``timeout`` seconds.
        :raises ResourceExhausted: the request is too long.
        """
        what = f"{service}/{method}"
        if timeout is not None and timeout <= 0:
            raise DeadlineExceeded(f"{self._name}: {what}: no time left to ask")
        stream, answer = self._send(self._request(service, method, request, timeout, metadata), what)
        try:
            async with asyncio.timeout(timeout):
                response = await answer
        except TimeoutError:
            raise DeadlineExceeded(f"{self._name} did not answer {what} within {timeout:g} s") from None
        finally:
            self._waiting.pop(stream, None)
        if response.HasField("status") and response.status.code:
            raise from_code(response.status.code, response.status.message)
        try:
            return response_type.FromString(response.payload)
        except DecodeError as exc:
            raise Internal(f"{self._name} answered {what} with no {response_type.DESCRIPTOR.name}") from exc

    @staticmethod
    def _request(
        service: str, method: str, request: Message, timeout: float | None, metadata: Mapping[str, str]
    ) -> Request:
        return Request(
            service=service,
            method=method,
            payload=request.SerializeToString(),
            timeout_nano=0 if timeout is None else int(timeout * 1e9),
            metadata=[KeyValue(key=key, value=value) for key, value in metadata.items()],
        )

    def _send(self, request: Request, what: str) -> tuple[int, asyncio.Future[Response]]:
        if self._transport is None or self._transport.is_closing():
            raise Unavailable(f"cannot ask {self._name} for {what}: {self._reason}")
        try:
            stream, data = self._protocol.send(request)
        except LocalProtocolError as exc:
            raise BY_CODE[exc.code](f"cannot ask {self._name} for {what}: {exc}") from exc
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = answer
        self._transport.write(data)
        return stream, answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for answered in self._protocol.receive(data):
                waiting = self._waiting.get(answered.stream)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answered.response)
        except RemoteProtocolError as exc:
            log.warning("closing a connection whose server broke the protocol", extra={"fields": {"error": str(exc)}})
            self._reason = f"it broke the protocol: {exc}"
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._reason = f"the connection broke: {exc}"
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unavailable(f"{self._name} went away before it answered: {self._reason}"))
        self._gone.set()
        if self._on_close is not None:
            self._on_close()
