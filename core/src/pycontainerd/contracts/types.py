"""Records shared by many contracts. All are frozen: a record is a fact, not a handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import attrs

EMPTY: Mapping[str, str] = MappingProxyType({})


def now() -> datetime:
    """The current time, timezone-aware (UTC), the only kind of time in the records."""
    return datetime.now(UTC)


@attrs.frozen
class AnyValue:
    """``google.protobuf.Any`` without protobuf: a type URL as containerd's typeurl writes it, and the bytes."""

    type_url: str = ""
    value: bytes = b""


@attrs.frozen
class Platform:
    """OCI image-spec platform. Empty ``os`` means none given."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: Sequence[str] = ()


@attrs.frozen
class Descriptor:
    """OCI content descriptor (image-spec descriptor.md). ``size`` is in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = EMPTY
    urls: Sequence[str] = ()
    platform: Platform | None = None
    artifact_type: str = ""


@attrs.frozen
class Mount:
    """A mount as it crosses the API (containerd.types.Mount); ``options`` are fstab-style strings."""

    type: str
    source: str
    target: str = ""
    options: Sequence[str] = ()


@attrs.frozen
class Scope:
    """In whose name an operation runs.

    Every scoped store isolates by ``namespace``. When ``lease`` is not empty, whatever the operation creates is
    added to that lease in the same commit, so that a collection cannot take it while it is in flight.
    """

    namespace: str
    lease: str = ""
