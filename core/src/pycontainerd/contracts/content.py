"""Content stores: content-addressed blobs and the ingests that become them.

The same Protocol is implemented by back ends (``io.containerd.content.v1``, which know no namespaces) and by the
scoped view that `ContentService` hands out. Defined by containerd's docs/content-flow.md and content.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from .gc import ContentSweeper
from .types import EMPTY, Scope


@attrs.frozen
class ContentInfo:
    """A committed blob. ``size`` is in bytes."""

    digest: str
    size: int
    created_at: datetime
    updated_at: datetime
    labels: Mapping[str, str] = EMPTY


@attrs.frozen
class IngestStatus:
    """An ingest under way. ``offset`` bytes have been written; ``total`` and ``expected`` may be 0 and "" (unknown)."""

    ref: str
    offset: int
    total: int
    expected: str
    started_at: datetime
    updated_at: datetime


class ContentReader(Protocol):
    """Random access to one blob. Thread-safe."""

    @property
    def size(self) -> int: ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; empty at or past the end."""
        ...

    def fileno(self) -> int:
        """A descriptor of the blob open for reading, or raise `NotImplemented` where there is no file behind it."""
        ...

    def close(self) -> None: ...


class ContentWriter(Protocol):
    """The exclusive writer of one ingest. Closing it keeps the ingest for a later resume."""

    def write(self, data: bytes | memoryview) -> int:
        """Append ``data``; returns the new offset."""
        ...

    def truncate(self, size: int = 0) -> None:
        """Forget everything after ``size`` bytes (only 0 need be supported)."""
        ...

    def digest(self) -> str:
        """Digest of what has been written so far."""
        ...

    def status(self) -> IngestStatus: ...

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        """Make the ingest a blob, durably, and close the writer.

        :raises FailedPrecondition: the size (when not 0) or digest (when not empty) is not what was written.
        :raises AlreadyExists: the blob is there already (the ingest is then gone, the existing blob is as good).
        """
        ...

    def close(self) -> None: ...


class ContentStore(Protocol):
    """Blobs by digest, ingests by ref. Thread-safe, synchronous."""

    def info(self, digest: str) -> ContentInfo:
        """:raises NotFound: no such blob."""
        ...

    def update(self, digest: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> ContentInfo:
        """Replace labels, or with ``fieldpaths`` (``labels``, ``labels.KEY``) only those; an empty value deletes."""
        ...

    def walk(self, filters: Sequence[str] = ()) -> Iterator[ContentInfo]: ...

    def delete(self, digest: str) -> None: ...

    def open(self, digest: str) -> ContentReader:
        """:raises NotFound: no such blob."""
        ...

    def writer(self, ref: str, *, total: int = 0, expected: str = "") -> ContentWriter:
        """Start or resume the ingest ``ref``.

        :raises AlreadyExists: ``expected`` is given and that blob is there already.
        :raises Unavailable: another writer holds the ref.
        """
        ...

    def status(self, ref: str) -> IngestStatus: ...

    def statuses(self, filters: Sequence[str] = ()) -> Iterable[IngestStatus]: ...

    def abort(self, ref: str) -> None: ...


class ContentService(Protocol):
    """``io.containerd.service.v1.content-service``: namespaced content over the one back end."""

    def scoped(self, scope: Scope) -> ContentStore:
        """A view of ``scope``: blobs are shared on disk, visible only in namespaces that own them."""
        ...

    def sweeper(self) -> ContentSweeper:
        """For collections."""
        ...
