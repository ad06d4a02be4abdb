"""How records are kept in the database: labels as JSON, times as nanoseconds since the epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from .types import AnyValue, Descriptor

_EMPTY = ("", "{}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pack_time(value: datetime) -> int:
    return ((value - _EPOCH) // timedelta(microseconds=1)) * 1000


def unpack_time(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value // 1000)


def pack_map(value: Mapping[str, str]) -> str:
    return json.dumps(dict(value), sort_keys=True)


def unpack_map(value: str) -> dict[str, str]:
    return {str(key): str(item) for key, item in json.loads(value).items()} if value not in _EMPTY else {}


def pack_descriptor(value: Descriptor) -> str:
    return json.dumps([value.media_type, value.digest, value.size, dict(value.annotations)])


def unpack_descriptor(value: str) -> Descriptor:
    media_type, digest, size, annotations = json.loads(value)
    return Descriptor(media_type, digest, size, annotations)


def pack_any(value: AnyValue | None) -> bytes | None:
    """The type URL, a NUL, the bytes; None for none."""
    return None if value is None else value.type_url.encode() + b"\0" + value.value


def unpack_any(value: bytes | None) -> AnyValue | None:
    if value is None:
        return None
    url, _, data = value.partition(b"\0")
    return AnyValue(url.decode(), data)
