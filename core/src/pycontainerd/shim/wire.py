"""Protocol buffers, as much of their encoding as a shim needs (protobuf.dev/programming-guides/encoding).

The protobuf package is most of what a Python process with it consists of; a shim, of which there is one for each
container, does without. A message is a plain dict of its fields by name, `Message` says how they are encoded.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Kind = Any  # one of those below, or a Message; in a list if the field is repeated

TEXT, BYTES, NUMBER, BOOL, DOUBLE = "text", "bytes", "number", "bool", "double"
_DEFAULTS = {TEXT: "", BYTES: b"", NUMBER: 0, BOOL: False, DOUBLE: 0.0}
_DOUBLE = struct.Struct("<d")
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MASK = (1 << 64) - 1


class Message:
    """A message type: its full ``name``, and number and kind of each field by name."""

    __slots__ = ("_by_number", "defaults", "fields", "name")

    def __init__(self, name: str, /, **fields: tuple[int, Kind]) -> None:
        self.name = name
        self.fields = fields
        self.defaults: dict[str, Any] = {}
        self._by_number: dict[int, tuple[str, Kind, bool]] = {}
        for field, (number, kind) in fields.items():
            repeated = isinstance(kind, list)
            one = kind[0] if repeated else kind
            self._by_number[number] = (field, one, repeated)
            self.defaults[field] = () if repeated else _DEFAULTS.get(one)

    def decode(self, data: bytes) -> dict[str, Any]:
        """The message in ``data``: every field, those that are not there with their default (None for a message).

        :raises ValueError: it is cut off, or not of this type.
        """
        values = self.defaults.copy()
        at = 0
        while at < len(data):
            key, at = _read_varint(data, at)
            wire = key & 7
            value: Any
            if wire == _VARINT:
                value, at = _read_varint(data, at)
            else:
                length, at = _read_length(data, at, wire)
                value = data[at : at + length]
                at += length
                if at > len(data):
                    raise ValueError(f"{self.name} is cut off")
            field = self._by_number.get(key >> 3)
            if field is not None:
                name, kind, repeated = field
                value = _convert(value, kind, wire)
                values[name] = (*values[name], value) if repeated else value
        return values

    def encode(self, values: dict[str, Any]) -> bytes:
        """``values`` as bytes; fields that are missing, None or have their default take none."""
        out = bytearray()
        for name, value in values.items():
            number, kind = self.fields[name]
            if isinstance(kind, list):
                for item in value:
                    _put(out, number, kind[0], item)
            elif value is not None and value != self.defaults[name]:
                _put(out, number, kind, value)
        return bytes(out)


def _convert(value: Any, kind: Kind, wire: int) -> Any:
    """What is encoded as ``value``.

    :raises ValueError: the field is of another kind.
    """
    if wire == _LENGTH:
        if kind is TEXT:
            return value.decode()
        if kind is BYTES:
            return value
        if isinstance(kind, Message):
            return kind.decode(value)
    elif wire == _VARINT:
        if kind is NUMBER:
            return value
        if kind is BOOL:
            return value != 0
    elif wire == _FIXED64 and kind is DOUBLE:
        return _DOUBLE.unpack(value)[0]
    raise ValueError(f"a field of kind {kind} has wire type {wire}")


def _read_length(data: bytes, at: int, wire: int) -> tuple[int, int]:
    """How many bytes a field has, and where they begin."""
    if wire == _LENGTH:
        return _read_varint(data, at)
    if wire == _FIXED64:
        return 8, at
    if wire == _FIXED32:
        return 4, at
    raise ValueError(f"unknown wire type {wire}")


def _put(out: bytearray, number: int, kind: Kind, value: Any) -> None:
    """Append a field."""
    if kind is NUMBER or kind is BOOL:
        _put_varint(out, number << 3)
        _put_varint(out, value & _MASK)
        return
    if kind is DOUBLE:
        _put_varint(out, number << 3 | _FIXED64)
        out += _DOUBLE.pack(value)
        return
    if kind is TEXT:
        value = value.encode(errors="replace")
    elif kind is not BYTES:
        value = kind.encode(value)
    _put_varint(out, number << 3 | _LENGTH)
    _put_varint(out, len(value))
    out += value


def _put_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & _MASK, at
            shift += 7
            if shift >= 70:
                raise ValueError("a number has more than ten bytes")
    except IndexError:
        raise ValueError("a number is cut off") from None
