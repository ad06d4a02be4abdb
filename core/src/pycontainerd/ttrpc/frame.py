"""Frames: ten bytes of header (length, stream, type, flags; big-endian), then the data.

The protocol without I/O: bytes in, frames out, and back.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

import attrs

from .errors import LocalProtocolError, RemoteProtocolError

MAX_DATA = 4 << 20
HEADER = struct.Struct(">IIBB")
MAX_STREAM = 0xFFFFFFFF


class Type(enum.IntEnum):
    """What a frame is."""

    REQUEST = 1
    RESPONSE = 2
    DATA = 3


REMOTE_CLOSED = 0x1
REMOTE_OPEN = 0x2
NO_DATA = 0x4


@attrs.frozen
class Frame:
    """One frame. A request without flags is a unary call."""

    stream: int
    type: Type
    data: bytes = b""
    flags: int = 0


def encode(frame: Frame) -> bytes:
    """``frame`` as bytes.

    :raises LocalProtocolError: its data is longer than `MAX_DATA` or its stream number out of range.
    """
    if len(frame.data) > MAX_DATA:
        raise LocalProtocolError(
            f"a message of {len(frame.data)} bytes does not fit into a ttrpc frame, the limit is {MAX_DATA}",
            stream=frame.stream,
            code="RESOURCE_EXHAUSTED",
        )
    if not 0 < frame.stream <= MAX_STREAM:
        raise LocalProtocolError(f"stream {frame.stream} is out of range", stream=frame.stream)
    return HEADER.pack(len(frame.data), frame.stream, frame.type, frame.flags) + frame.data


class Decoder:
    """Collects received bytes into frames; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes.

        :raises RemoteProtocolError: a frame is too long or of an unknown type. The frames before it were yielded.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= HEADER.size:
                length, stream, kind, flags = HEADER.unpack_from(buffer, at)
                _check(length, stream, kind)
                end = at + HEADER.size + length
                if len(buffer) < end:
                    break
                body = bytes(buffer[at + HEADER.size : end])
                at = end
                yield Frame(stream, Type(kind), body, flags)
        finally:
            del buffer[:at]


def _check(length: int, stream: int, kind: int) -> None:
    if length > MAX_DATA:
        raise RemoteProtocolError(
            f"the peer announced a message of {length} bytes, the limit is {MAX_DATA}",
            stream=stream,
            code="RESOURCE_EXHAUSTED",
        )
    if kind not in (Type.REQUEST, Type.RESPONSE, Type.DATA):
        raise RemoteProtocolError(f"the peer sent a frame of the unknown type {kind}", stream=stream)
