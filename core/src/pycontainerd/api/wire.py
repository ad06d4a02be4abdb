"""Answers that are put together as bytes.

A message of many messages costs three copies of all of them: into the parent, into its encoder's growing buffer, and out of
it. A list of containers is megabytes of specs; encoded one by one it is a fifth of the work. An RPC may return such bytes
in place of its message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def repeated(number: int, messages: Iterable[bytes]) -> bytes:
    """The encoding of a message whose only field, ``number``, repeats ``messages``, which are encoded."""
    tag = _varint(number << 3 | 2)
    parts: list[bytes] = []
    for data in messages:
        parts += (tag, _varint(len(data)), data)
    return b"".join(parts)


def piece(offset_field: int, offset: int, data_field: int, data: bytes) -> bytes:
    """The encoding of a message of an offset and bytes: one copy of the bytes where the message makes three."""
    head = _varint(offset_field << 3) + _varint(offset) if offset else b""
    return b"".join((head, _varint(data_field << 3 | 2), _varint(len(data)), data))


def encoded(response: Any) -> bytes:
    """What an RPC returned, as it goes over the wire."""
    if isinstance(response, bytes):
        return response
    data: bytes = response.SerializeToString()
    return data


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
