"""The two ends of a connection, without I/O.

Theory of operation. A client numbers its calls 1, 3, 5, … and sends a request frame for each; the server answers every
request with exactly one response frame on the same stream, in any order. There is no cancel: a client that has lost
interest ignores the response. Streams (requests with flags, data frames) are refused on the stream and leave the
connection usable. Everything else that is not in this paragraph is a `ProtocolError` after which the connection is of
no use, because frames carry no way to resynchronise.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from .errors import LocalProtocolError, RemoteProtocolError
from .frame import MAX_STREAM, REMOTE_OPEN, Decoder, Frame, Type, encode
from .ttrpc_pb2 import Request, Response


@attrs.frozen
class Received:
    """A call to answer. ``error`` is set when it can only be refused (the message is why)."""

    stream: int
    request: Request
    error: str = ""


class ServerConnection:
    """The accepting end."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._last = 0
        self._open: set[int] = set()

    @property
    def unanswered(self) -> int:
        """Calls that wait for their response."""
        return len(self._open)

    def receive(self, data: bytes) -> Iterator[Received]:
        """The calls that ``data`` completes.

        :raises RemoteProtocolError: see the head of this file.
        """
        for frame in self._decoder.feed(data):
            if frame.type is Type.DATA and 0 < frame.stream <= self._last:
                continue  # the rest of a stream that was refused
            if frame.type is not Type.REQUEST:
                raise RemoteProtocolError(f"a client sent a {frame.type.name.lower()} frame", stream=frame.stream)
            yield self._request(frame)

    def _request(self, frame: Frame) -> Received:
        if frame.stream % 2 != 1:
            raise RemoteProtocolError(f"a client used the even stream {frame.stream}", stream=frame.stream)
        if frame.stream <= self._last:
            raise RemoteProtocolError(
                f"a client used stream {frame.stream} after stream {self._last}", stream=frame.stream
            )
        self._last = frame.stream
        self._open.add(frame.stream)
        if frame.flags & REMOTE_OPEN:
            return Received(frame.stream, Request(), "streams are not supported here, only unary calls")
        try:
            return Received(frame.stream, Request.FromString(frame.data))
        except DecodeError as exc:
            raise RemoteProtocolError(f"a request is not a ttrpc.Request: {exc}", stream=frame.stream) from exc

    def respond(self, stream: int, response: Response) -> bytes:
        """The bytes that answer a call.

        :raises LocalProtocolError: no such call waits, or the response is too long (then the call still waits).
        """
        if stream not in self._open:
            raise LocalProtocolError(f"no call waits on stream {stream}", stream=stream)
        data = encode(Frame(stream, Type.RESPONSE, response.SerializeToString()))
        self._open.discard(stream)
        return data

    @staticmethod
    def complain(error: RemoteProtocolError, code: int) -> bytes:
        """The last bytes to send to a peer that broke the protocol; none if there is no stream to send them on."""
        if not error.stream:
            return b""
        return encode(
            Frame(
                error.stream, Type.RESPONSE, Response(status=Status(code=code, message=str(error))).SerializeToString()
            )
        )


@attrs.frozen
class Answered:
    """The response to a call of ours."""

    stream: int
    response: Response


class ClientConnection:
    """The connecting end."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._next = 1

    def send(self, request: Request) -> tuple[int, bytes]:
        """Start a call: its stream and the bytes to send.

        :raises LocalProtocolError: the request is too long, or the connection has used up its numbers.
        """
        if self._next > MAX_STREAM:
            raise LocalProtocolError("this connection has no stream number left", code="UNAVAILABLE")
        stream = self._next
        data = encode(Frame(stream, Type.REQUEST, request.SerializeToString()))
        self._next += 2
        return stream, data

    def receive(self, data: bytes) -> Iterator[Answered]:
        """The responses that ``data`` completes, also those nobody waits for any more.

        :raises RemoteProtocolError: see the head of this file.
        """
        for frame in self._decoder.feed(data):
            if frame.type is not Type.RESPONSE:
                raise RemoteProtocolError(
                    f"a server sent a {frame.type.name.lower()} frame on the unary stream {frame.stream}",
                    stream=frame.stream,
                )
            if frame.stream % 2 != 1 or frame.stream >= self._next:
                raise RemoteProtocolError(
                    f"a server answered on stream {frame.stream}, where nothing was asked", stream=frame.stream
                )
            try:
                yield Answered(frame.stream, Response.FromString(frame.data))
            except DecodeError as exc:
                raise RemoteProtocolError(f"a response is not a ttrpc.Response: {exc}", stream=frame.stream) from exc
