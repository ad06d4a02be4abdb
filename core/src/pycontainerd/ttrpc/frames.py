"""Frames of ttrpc: bytes in, frames out, and back. No I/O.

A frame is a header of ten bytes (length of data, stream id, type, flags; all big-endian) and its data. Clients use odd
stream ids, each once and rising. A peer that breaks the rules is blamed with `RemoteProtocolError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import attrs

HEADER = struct.Struct(">IIBB")
MAX_DATA = 4 << 20  # bytes
REQUEST = 1
RESPONSE = 2
DATA = 3
_TYPES = (REQUEST, RESPONSE, DATA)


class ProtocolError(Exception):
    """A violation of ttrpc; only its two kinds are raised."""


class LocalProtocolError(ProtocolError):
    """We tried to send what must not be sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what must not be sent; the connection is of no more use."""


@attrs.frozen
class Frame:
    """One message on the wire."""

    stream: int
    type: int
    flags: int
    data: bytes


def encode(frame: Frame) -> bytes:
    """:raises LocalProtocolError: the data is larger than 4 MiB."""
    if len(frame.data) > MAX_DATA:
        raise LocalProtocolError(f"a ttrpc message of {len(frame.data)} bytes, the limit is {MAX_DATA}")
    return HEADER.pack(len(frame.data), frame.stream, frame.type, frame.flags) + frame.data


class Decoder:
    """Collects received bytes and gives out whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[Frame]:
        """Every frame that ``data`` completes.

        :raises RemoteProtocolError: a frame is too large or of an unknown type.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            length, stream, kind, flags = HEADER.unpack_from(self._buffer)
            if length > MAX_DATA:
                raise RemoteProtocolError(f"the peer sent a ttrpc message of {length} bytes, the limit is {MAX_DATA}")
            if kind not in _TYPES:
                raise RemoteProtocolError(f"the peer sent a ttrpc message of unknown type {kind}")
            if len(self._buffer) < HEADER.size + length:
                return
            data = bytes(self._buffer[HEADER.size : HEADER.size + length])
            del self._buffer[: HEADER.size + length]
            yield Frame(stream, kind, flags, data)

    @property
    def midway(self) -> bool:
        """Whether a frame has begun and not ended: an end of the stream now is a truncation."""
        return bool(self._buffer)
