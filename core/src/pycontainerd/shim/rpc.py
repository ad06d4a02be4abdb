"""ttrpc on the shim's loop: the server that the daemon calls, and the client that takes events to it."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from pycontainerd.api.status import NUMBERS, from_code
from pycontainerd.contracts.errors import BY_CODE, DeadlineExceeded, Internal, ResourceExhausted, Unavailable
from pycontainerd.contracts.service import Call, RpcService
from pycontainerd.contracts.types import EMPTY
from pycontainerd.ttrpc.connection import ClientConnection, Received, ServerConnection
from pycontainerd.ttrpc.dispatch import Dispatcher, failure
from pycontainerd.ttrpc.errors import LocalProtocolError, RemoteProtocolError
from pycontainerd.ttrpc.ttrpc_pb2 import KeyValue, Request, Response

from . import loop

log = logging.getLogger("containerd.shim")

M = TypeVar("M", bound=Message)
_CHUNK = 1 << 16
_FULL = 4 << 20  # bytes of answers that wait; what asks for more is not read meanwhile
_MAX_UNANSWERED = 8192


class Channel:
    """A connected socket: gives what it receives to ``on_data``, sends what it can and keeps the rest."""

    def __init__(self, sock: socket.socket, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_data = on_data
        self._on_end = on_end
        self._unsent = bytearray()
        self._reading = False
        self._writing = False
        self.open = True
        self._read(True)

    def _read(self, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                loop.current().add_reader(self._sock, self._readable)
            else:
                loop.current().remove_reader(self._sock)

    def _readable(self) -> None:
        if not self.open:
            return
        try:
            data = self._sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:
            self.close()

    def send(self, data: bytes) -> None:
        """Send it, as soon as the other end takes it; nothing if the connection has ended."""
        if not self.open:
            return
        self._unsent += data
        if not self._writing:
            self._writable()

    def _writable(self) -> None:
        try:
            while self.open and self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
        if not self.open:
            return
        if bool(self._unsent) != self._writing:
            self._writing = bool(self._unsent)
            if self._writing:
                loop.current().add_writer(self._sock, self._writable)
            else:
                loop.current().remove_writer(self._sock)
        self._read(len(self._unsent) < _FULL)

    def close(self) -> None:
        """End it."""
        if not self.open:
            return
        self.open = False
        self._read(False)
        if self._writing:
            loop.current().remove_writer(self._sock)
        self._sock.close()
        self._on_end()


class Server(Dispatcher):
    """Serves on one listening socket."""

    def __init__(self, services: Iterable[RpcService]) -> None:
        super().__init__(services)
        self._listening: socket.socket | None = None
        self._connections: set[Connection] = set()

    def serve(self, listening: socket.socket) -> None:
        """Accept connections on a non-blocking socket that listens and is the server's from now on."""
        self._listening = listening
        loop.current().add_reader(listening, self._accept)

    def attach(self, sock: socket.socket) -> None:
        """Serve a socket that is connected already."""
        self._connections.add(Connection(self, sock))

    def _accept(self) -> None:
        if self._listening is None:
            return
        with contextlib.suppress(OSError):  # it has hung up already, or there are no descriptors left for now
            self.attach(self._listening.accept()[0])

    def gone(self, connection: Connection) -> None:
        """A connection ended (called by it)."""
        self._connections.discard(connection)

    async def shutdown(self, grace: float) -> None:
        """Accept nothing new, let calls under way end for ``grace`` seconds, then hang up."""
        self._draining = True
        if self._listening is not None:
            loop.current().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        left = [task for connection in self._connections for task in connection.calls]
        await loop.wait(left, grace)
        for connection in list(self._connections):
            connection.close()

    async def _plain(self, handler: Callable[[Any, Call], Any], message: Any, call: Call) -> Any:
        return handler(message, call)

    async def _limited(self, seconds: float, work: Coroutine[Any, Any, bytes], late: DeadlineExceeded) -> bytes:
        try:
            return await loop.within(seconds, work)
        except TimeoutError:
            raise late from None


class Connection:
    """One client of a server, and a task for each of its calls."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._protocol = ServerConnection()
        self.calls: set[loop.Task[None]] = set()
        self._channel = Channel(sock, self._received, self._ended)

    def _received(self, data: bytes) -> None:
        try:
            for received in self._protocol.receive(data):
                self._start(received)
        except RemoteProtocolError as exc:
            log.warning(f"closing a connection whose client broke the protocol: {exc}")
            self._channel.send(self._protocol.complain(exc, NUMBERS[exc.code]))
            self._channel.close()

    def _start(self, received: Received) -> None:
        if len(self.calls) >= _MAX_UNANSWERED:
            self._respond(received.stream, failure(ResourceExhausted(f"{len(self.calls)} calls are under way already")))
            return
        task = loop.spawn(self._serve(received))
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)

    async def _serve(self, received: Received) -> None:
        response = await self._server.answer(received)
        self._respond(received.stream, response)

    def _respond(self, stream: int, response: Response) -> None:
        try:
            data = self._protocol.respond(stream, response)
        except LocalProtocolError as exc:
            data = self._protocol.respond(stream, failure(ResourceExhausted(f"the response: {exc}")))
        self._channel.send(data)

    def _ended(self) -> None:
        for task in self.calls:
            task.cancel()
        self._server.gone(self)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


class Client:
    """A connection to a ttrpc server."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._name = name
        self._protocol = ClientConnection()
        self._waiting: dict[int, loop.Future[Response]] = {}
        self._channel = Channel(sock, self._received, self._ended)

    @classmethod
    def connect(cls, path: str, *, name: str) -> Client:
        """Connect to the unix socket ``path``; ``name`` is what errors call the peer.

        :raises Unavailable: nobody listens there, or too many want to be heard.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.connect(path)
        except OSError as exc:
            sock.close()
            raise Unavailable(f"cannot connect to {name} at {path!r}: {exc.strerror or exc}") from exc
        return cls(sock, name)

    @property
    def closed(self) -> bool:
        return not self._channel.open

    async def call(
        self,
        service: str,
        method: str,
        request: Message,
        response_type: type[M],
        *,
        timeout: float = 30.0,
        metadata: Mapping[str, str] = EMPTY,
    ) -> M:
        """The response to ``service``/``method``.

        :raises ContainerdError: what the server answered.
        :raises Unavailable: the connection has ended before the answer.
        :raises DeadlineExceeded: no answer within ``timeout`` seconds.
        """
        what = f"{self._name}: {service}/{method}"
        if self.closed:
            raise Unavailable(f"{what}: the connection has ended")
        pairs = [KeyValue(key=key, value=value) for key, value in metadata.items()]
        message = Request(
            service=service, method=method, payload=request.SerializeToString(), timeout_nano=int(timeout * 1e9),
            metadata=pairs,
        )  # fmt: skip
        try:
            stream, data = self._protocol.send(message)
        except LocalProtocolError as exc:
            raise BY_CODE[exc.code](f"{what}: {exc}") from exc
        answer: loop.Future[Response] = loop.Future()
        self._waiting[stream] = answer
        self._channel.send(data)
        try:
            if not await loop.wait([answer], timeout):
                raise DeadlineExceeded(f"{what} did not answer within {timeout:g} s")
        finally:
            self._waiting.pop(stream, None)
        response = answer.result()
        if response.status.code:
            raise from_code(response.status.code, response.status.message)
        try:
            return response_type.FromString(response.payload)
        except DecodeError as exc:
            raise Internal(f"{what} answered with something else than a {response_type.__name__}") from exc

    def _received(self, data: bytes) -> None:
        try:
            for answered in self._protocol.receive(data):
                waiting = self._waiting.get(answered.stream)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answered.response)
        except RemoteProtocolError as exc:
            log.warning(f"closing a connection whose server broke the protocol: {exc}")
            self._channel.close()

    def _ended(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unavailable(f"{self._name} went away before it answered"))

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
