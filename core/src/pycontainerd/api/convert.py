"""Records of contracts to messages of containerd.types and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from pycontainerd.api.types import descriptor_pb2, mount_pb2, platform_pb2
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import Descriptor, Mount, Platform

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    result = Timestamp()
    stamp(result, value)
    return result


def stamp(field: Timestamp, value: datetime | None) -> None:
    """Set the field of a message to ``value``; unset it stays for None.

    In lists: a message that is handed to another's constructor is copied, which for times costs more than all the rest.
    """
    if value is not None:
        since = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
        field.seconds = since.days * 86400 + since.seconds
        field.nanos = since.microseconds * 1000


def moment(value: Timestamp) -> datetime:
    """:raises InvalidArgument: it is no time between the years 1 and 9999."""
    try:
        return value.ToDatetime(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidArgument(f"{value.seconds} s and {value.nanos} ns since 1970 is no time: {exc}") from exc


def descriptor_message(value: Descriptor) -> descriptor_pb2.Descriptor:
    return descriptor_pb2.Descriptor(
        media_type=value.media_type, digest=value.digest, size=value.size, annotations=value.annotations
    )


def descriptor_record(value: descriptor_pb2.Descriptor) -> Descriptor:
    return Descriptor(value.media_type, value.digest, value.size, dict(value.annotations))


def mount_messages(values: Iterable[Mount]) -> list[mount_pb2.Mount]:
    return [
        mount_pb2.Mount(type=value.type, source=value.source, target=value.target, options=value.options)
        for value in values
    ]


def mount_records(values: Iterable[mount_pb2.Mount]) -> list[Mount]:
    return [Mount(value.type, value.source, value.target, tuple(value.options)) for value in values]


def platform_message(value: Platform) -> platform_pb2.Platform:
    return platform_pb2.Platform(
        os=value.os,
        architecture=value.architecture,
        variant=value.variant,
        os_version=value.os_version,
        os_features=value.os_features,
    )


def platform_record(value: platform_pb2.Platform) -> Platform:
    return Platform(value.os, value.architecture, value.variant, value.os_version, tuple(value.os_features))
