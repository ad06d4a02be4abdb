"""ttrpc on the shim's loop: the server that the daemon calls, and the client that takes events to it.

The protocol is that of `pycontainerd.ttrpc.connection`, which says how it goes; a test lets the two speak with each other.
"""

from __future__ import annotations

import os
import socket
import struct

from pycontainerd.api.status import NUMBERS, from_code, to_code
from pycontainerd.contracts.errors import (
    ContainerdError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotImplemented,
    ResourceExhausted,
    Unavailable,
)

from . import log, loop
from .messages import REQUEST, RESPONSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from .wire import Message

    Handler = Callable[[dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]
    Method = tuple[Message, Message, Handler]  # what it takes, what it gives, and the code

_HEADER = struct.Struct(">IIBB")  # length, stream, type, flags
_HEADER_SIZE = 10
_REQUEST, _RESPONSE, _DATA = 1, 2, 3
_REMOTE_OPEN = 2
_LONGEST = 4 << 20
_MAX_STREAM = 0xFFFFFFFF
_CHUNK = 1 << 16
_FULL = 4 << 20  # bytes of answers that wait; what asks for more is not read meanwhile
_MAX_UNANSWERED = 8192
_FOREVER = 1 << 63  # nanoseconds from here on are negative ones


class ProtocolError(Exception):
    """The peer sent what ttrpc forbids, on ``stream``; nothing more can be read from it."""

    def __init__(self, message: str, stream: int, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.stream = stream
        self.code = code


class Connection:
    """A connected socket that carries frames, and is closed with the connection."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._incomplete = b""
        self._unsent = bytearray()
        self.open = True
        loop.current().watch(fd, loop.READ, self._ready)

    def _ready(self) -> None:
        if self._unsent:
            self._flush()
        if not self.open or len(self._unsent) >= _FULL:
            return
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            self._split(data)
        except ProtocolError as exc:
            log.warning(f"closing a connection whose peer broke the protocol: {exc}")
            self._complain(exc)
            self.close()

    def _split(self, data: bytes) -> None:
        """Take the frames that ``data`` completes, keep the rest."""
        data = self._incomplete + data
        at = 0
        while len(data) - at >= _HEADER_SIZE:
            length, stream, kind, flags = _HEADER.unpack_from(data, at)
            if length > _LONGEST:
                raise ProtocolError(f"a message of {length} bytes is too long", stream, "RESOURCE_EXHAUSTED")
            begin, end = at + _HEADER_SIZE, at + _HEADER_SIZE + length
            if end > len(data):
                break
            try:
                self._take(stream, kind, flags, data[begin:end])
            except ValueError as exc:
                raise ProtocolError(str(exc), stream) from exc
            at = end
        self._incomplete = data[at:]

    def _take(self, stream: int, kind: int, flags: int, data: bytes) -> None:
        """A frame came.

        :raises ProtocolError: it must not.
        :raises ValueError: it cannot be read.
        """
        raise NotImplementedError

    def _complain(self, error: ProtocolError) -> None:
        """Tell the peer what it did wrong, if it can be told."""

    def _send(self, stream: int, kind: int, data: bytes) -> None:
        """Send a frame as soon as the other end takes it; nothing if the connection has ended."""
        if self.open:
            waiting = bool(self._unsent)
            self._unsent += _HEADER.pack(len(data), stream, kind, 0)
            self._unsent += data
            if not waiting:
                self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._fd, self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        waiting = len(self._unsent)
        wanted = (loop.WRITE if waiting else 0) | (loop.READ if waiting < _FULL else 0)
        if wanted != self._wanted:
            self._wanted = wanted
            loop.current().watch(self._fd, wanted, self._ready)

    _wanted = loop.READ

    def close(self) -> None:
        """End it."""
        if self.open:
            self.open = False
            loop.current().unwatch(self._fd)
            os.close(self._fd)
            self._ended()

    def _ended(self) -> None:
        """The connection has ended."""
        raise NotImplementedError


class Server:
    """Serves ``methods``, which are named SERVICE/METHOD, on one listening socket."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self.methods = methods
        self.draining = False
        self.callers: set[Caller] = set()
        self._listening: socket.socket | None = None

    def serve(self, listening: socket.socket) -> None:
        """Accept connections on a non-blocking socket that listens and is the server's from now on."""
        self._listening = listening
        loop.current().watch(listening.fileno(), loop.READ, self._accept)

    def _accept(self) -> None:
        if self._listening is None:
            return
        try:
            connected, _ = self._listening.accept()
        except OSError:  # it has hung up already, or there are no descriptors left for now
            return
        self.callers.add(Caller(connected.detach(), self))

    async def shutdown(self, grace: float) -> None:
        """Accept nothing new, let calls under way end for ``grace`` seconds, then hang up."""
        self.draining = True
        if self._listening is not None:
            loop.current().unwatch(self._listening.fileno())
            self._listening.close()
            self._listening = None
        await loop.wait([task for caller in self.callers for task in caller.calls.values()], grace)
        for caller in list(self.callers):
            caller.close()


class Caller(Connection):
    """One client of a server, and a task for each of its calls."""

    def __init__(self, fd: int, server: Server) -> None:
        self.calls: dict[int, loop.Task] = {}
        self._server = server
        self._last = 0
        super().__init__(fd)

    def _take(self, stream: int, kind: int, flags: int, data: bytes) -> None:
        if kind == _DATA and 0 < stream <= self._last:
            return  # the rest of a stream that was refused
        if kind != _REQUEST or stream % 2 != 1 or stream <= self._last:
            raise ProtocolError(f"a frame of type {kind} on stream {stream} after stream {self._last}", stream)
        self._last = stream
        if flags & _REMOTE_OPEN:
            self._fail(stream, NotImplemented("streams are not supported here, only unary calls"))
        elif len(self.calls) >= _MAX_UNANSWERED:
            self._fail(stream, ResourceExhausted(f"{len(self.calls)} calls are under way already"))
        else:
            self.calls[stream] = loop.spawn(self._answer(stream, REQUEST.decode(data)))

    def _complain(self, error: ProtocolError) -> None:
        if error.stream:
            status = {"code": NUMBERS[error.code], "message": str(error)}
            self._send(error.stream, _RESPONSE, RESPONSE.encode({"status": status}))

    async def _answer(self, stream: int, request: dict[str, Any]) -> None:
        path = f"{request['service']}/{request['method']}"
        limit = request["timeout_nano"]
        timer = None
        if 0 < limit < _FOREVER:
            timer = loop.current().call_later(limit / 1e9, loop.Task.cancel, self.calls[stream])
        try:
            fields, gives, handler = self._find(path, request["payload"])
            payload = gives.encode(await handler(fields))
        except ContainerdError as exc:
            log.debug(f"{path} failed: {exc}")
            self._fail(stream, exc)
        except loop.Cancelled:  # by the timer, if somebody still listens
            self._fail(stream, DeadlineExceeded(f"{path} did not finish within the caller's {limit / 1e9:g} s"))
        except Exception as exc:
            log.failure(f"{path} failed unexpectedly", exc)
            self._fail(stream, Internal(f"{path}: {type(exc).__name__}: {exc}"))
        else:
            response = RESPONSE.encode({"status": {}, "payload": payload})
            if len(response) <= _LONGEST:
                self._send(stream, _RESPONSE, response)
            else:
                self._fail(stream, ResourceExhausted(f"the response of {path} has {len(response)} bytes"))
        finally:
            del self.calls[stream]
            if timer is not None:
                timer.cancel()

    def _find(self, path: str, payload: bytes) -> tuple[dict[str, Any], Message, Handler]:
        """The fields of the request, how to encode the response, and who makes it."""
        if self._server.draining:
            raise Unavailable(f"{path}: the server is shutting down")
        method = self._server.methods.get(path)
        if method is None:
            raise NotImplemented(f"there is no {path} here", hint="a shim serves containerd.task.v3.Task")
        takes, gives, handler = method
        try:
            return takes.decode(payload), gives, handler
        except ValueError as exc:
            raise InvalidArgument(f"{path}: the payload is no {takes.name}: {exc}") from exc

    def _fail(self, stream: int, error: ContainerdError) -> None:
        status = {"code": to_code(error), "message": str(error)}
        self._send(stream, _RESPONSE, RESPONSE.encode({"status": status}))

    def _ended(self) -> None:
        self._server.callers.discard(self)
        for task in self.calls.values():
            task.cancel()


class Client(Connection):
    """A connection to a ttrpc server, which errors call ``name``."""

    def __init__(self, fd: int, name: str) -> None:
        self._name = name
        self._waiting: dict[int, loop.Future] = {}
        self._next = 1
        super().__init__(fd)

    @classmethod
    def connect(cls, path: str, *, name: str) -> Client:
        """Connect to the unix socket ``path``.

        :raises Unavailable: nobody listens there, or too many want to be heard.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.connect(path)
        except OSError as exc:
            sock.close()
            raise Unavailable(f"cannot connect to {name} at {path!r}: {exc.strerror or exc}") from exc
        return cls(sock.detach(), name)

    async def call(
        self,
        service: str,
        method: str,
        payload: bytes,
        *,
        timeout: float = 30.0,
        metadata: tuple[str, str] | None = None,
    ) -> bytes:
        """The payload of the response to ``service``/``method``; ``metadata`` is one key and its value.

        :raises ContainerdError: what the server answered.
        :raises InvalidArgument: the request is too long.
        :raises Unavailable: the connection has ended before the answer.
        :raises DeadlineExceeded: no answer within ``timeout`` seconds.
        """
        what = f"{self._name}: {service}/{method}"
        if not self.open:
            raise Unavailable(f"{what}: the connection has ended")
        request = {"service": service, "method": method, "payload": payload, "timeout_nano": int(timeout * 1e9)}
        if metadata is not None:
            request["metadata"] = ({"key": metadata[0], "value": metadata[1]},)
        message = REQUEST.encode(request)
        if len(message) > _LONGEST:
            raise InvalidArgument(f"{what}: the request has {len(message)} bytes, the limit is {_LONGEST}")
        stream, answer = self._next, loop.Future()
        self._next += 2
        if self._next > _MAX_STREAM:
            self.close()
            raise Unavailable(f"{what}: this connection has no stream number left")
        self._waiting[stream] = answer
        timer = loop.current().call_later(timeout, self._late, stream)
        try:
            self._send(stream, _REQUEST, message)
            response = await answer
        finally:
            timer.cancel()
            self._waiting.pop(stream, None)
        status = response["status"]
        if status and status["code"]:
            raise from_code(status["code"], status["message"])
        answered: bytes = response["payload"]
        return answered

    def _late(self, stream: int) -> None:
        waiting = self._waiting.get(stream)
        if waiting is not None and not waiting.done:
            waiting.settle(error=DeadlineExceeded(f"{self._name} did not answer in time"))

    def _take(self, stream: int, kind: int, flags: int, data: bytes) -> None:
        if kind != _RESPONSE or stream % 2 != 1 or stream >= self._next:
            raise ProtocolError(f"a frame of type {kind} on stream {stream}, where nothing was asked", stream)
        response = RESPONSE.decode(data)
        waiting = self._waiting.get(stream)
        if waiting is not None and not waiting.done:
            waiting.settle(response)

    def _ended(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done:
                waiting.settle(error=Unavailable(f"{self._name} went away before it answered"))
