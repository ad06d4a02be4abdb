"""A ttrpc client on an asyncio stream: any number of calls at once over one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from pycontainerd.api.status import from_code
from pycontainerd.contracts.errors import DeadlineExceeded, Unavailable
from pycontainerd.contracts.types import EMPTY

from .frames import REQUEST, RESPONSE, Decoder, Frame, ProtocolError, RemoteProtocolError, encode
from .wire_pb2 import KeyValue, Request, Response

R = TypeVar("R", bound=Message)
_CHUNK = 1 << 16


class Client:
    """Use `connect`. ``closed`` is set once the connection is gone, for whatever reason."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer
        self._next = 1
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self.closed = asyncio.Event()
        self._task = asyncio.ensure_future(self._receive())

    async def call(
        self,
        service: str,
        method: str,
        request: Message,
        response: type[R],
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] = EMPTY,
    ) -> R:
        """One call.

        :raises ContainerdError: what the server answered; `Unavailable` when the connection is or gets lost,
            `DeadlineExceeded` after ``timeout`` seconds.
        """
        what = f"{self._name}: {service}/{method}"
        if self.closed.is_set():
            raise Unavailable(f"{what}: the connection is closed")
        stream, self._next = self._next, self._next + 2
        message = Request(
            service=service,
            method=method,
            payload=request.SerializeToString(),
            timeout_nano=int(timeout * 1e9) if timeout else 0,
            metadata=[KeyValue(key=key, value=value) for key, value in metadata.items()],
        )
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = future
        try:
            self._writer.write(encode(Frame(stream, REQUEST, 0, message.SerializeToString())))
            await self._writer.drain()
            payload = await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"{what}: no answer in {timeout:g} s") from None
        except OSError as exc:
            raise Unavailable(f"{what}: the connection is lost: {exc}") from exc
        finally:
            self._waiting.pop(stream, None)
        return _decode(payload, response, what)

    async def close(self) -> None:
        self._task.cancel()
        self._end("it was closed")
        self._writer.close()

    async def _receive(self) -> None:
        decoder = Decoder()
        why = "the peer closed it"
        try:
            while data := await self._reader.read(_CHUNK):
                for frame in decoder.receive(data):
                    self._take(frame)
            if decoder.midway:
                why = "the peer closed it in the middle of a message"
        except (OSError, ProtocolError) as exc:
            why = str(exc)
        finally:
            self._end(why)
            self._writer.close()

    def _take(self, frame: Frame) -> None:
        if frame.type != RESPONSE or frame.stream % 2 == 0 or frame.stream >= self._next:
            raise RemoteProtocolError(f"the peer answered on stream {frame.stream}, which asked nothing")
        future = self._waiting.get(frame.stream)
        if future is not None and not future.done():  # else: given up meanwhile
            future.set_result(frame.data)

    def _end(self, why: str) -> None:
        self.closed.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable(f"{self._name}: the connection is lost: {why}"))


def _decode(payload: bytes, kind: Callable[[], R], what: str) -> R:
    try:
        answer = Response.FromString(payload)
        if answer.status.code != 0:
            raise from_code(answer.status.code, answer.status.message)
        result = kind()
        result.ParseFromString(answer.payload)
        return result
    except DecodeError as exc:
        raise Unavailable(f"{what}: the answer cannot be read: {exc}") from exc


async def connect(address: str, *, name: str = "", timeout: float = 5.0) -> Client:
    """A client for the unix socket ``address`` (a path, with or without ``unix://``).

    :raises Unavailable: nobody listens there, or the connection takes longer than ``timeout`` seconds.
    """
    path = address.removeprefix("unix://")
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_unix_connection(path), timeout)
    except (OSError, TimeoutError) as exc:
        reason = "it does not accept connections" if isinstance(exc, TimeoutError) else exc.strerror or exc
        raise Unavailable(f"cannot connect to {name or path}: {reason}") from exc
    return Client(name or path, reader, writer)
