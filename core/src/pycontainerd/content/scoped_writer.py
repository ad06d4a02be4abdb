"""Writers of namespaced content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pycontainerd.contracts.content import ContentInfo, ContentWriter, IngestStatus
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition
from pycontainerd.contracts.labels import validate
from pycontainerd.contracts.types import EMPTY, now


class _Scoped(Protocol):
    def record(self, ref: str, info: ContentInfo, labels: Mapping[str, str]) -> ContentInfo: ...

    def backend_info(self, digest: str) -> ContentInfo: ...

    def forget(self, ref: str) -> None: ...


class ScopedWriter:
    """Writes through to the back end; its commit makes the blob part of the namespace."""

    def __init__(self, scoped: _Scoped, ref: str, inner: ContentWriter) -> None:
        self._scoped = scoped
        self._ref = ref
        self._inner = inner

    def write(self, data: bytes | memoryview) -> int:
        return self._inner.write(data)

    def truncate(self, size: int = 0) -> None:
        self._inner.truncate(size)

    def digest(self) -> str:
        return self._inner.digest()

    def status(self) -> IngestStatus:
        inner = self._inner.status()
        return IngestStatus(self._ref, inner.offset, inner.total, inner.expected, inner.started_at, inner.updated_at)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        validate(labels)
        status = self._inner.status()
        digest = expected or self._inner.digest()
        if size and size != status.offset:
            raise FailedPrecondition(f"ingest {self._ref} has {status.offset} bytes, {size} were promised")
        try:
            info = self._inner.commit(size, expected)
        except AlreadyExists:
            info = self._scoped.backend_info(digest)
        return self._scoped.record(self._ref, info, labels)

    def close(self) -> None:
        self._inner.close()


class SharedWriter:
    """The writer of a blob that another namespace has: complete from the start, it only needs its commit."""

    def __init__(self, scoped: _Scoped, ref: str, info: ContentInfo) -> None:
        self._scoped = scoped
        self._ref = ref
        self._info = info
        self._started = now()

    def write(self, data: bytes | memoryview) -> int:
        raise FailedPrecondition(
            f"ingest {self._ref} is complete: {self._info.digest} is in the store", hint="commit it"
        )

    def truncate(self, size: int = 0) -> None:
        raise FailedPrecondition(f"ingest {self._ref} is complete: {self._info.digest} is in the store")

    def digest(self) -> str:
        return self._info.digest

    def status(self) -> IngestStatus:
        size = self._info.size
        return IngestStatus(self._ref, size, size, self._info.digest, self._started, self._started)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        if size and size != self._info.size:
            raise FailedPrecondition(f"{self._info.digest} has {self._info.size} bytes, {size} were promised")
        if expected and expected != self._info.digest:
            raise FailedPrecondition(f"ingest {self._ref} has digest {self._info.digest}, {expected} was expected")
        return self._scoped.record(self._ref, self._info, labels)

    def close(self) -> None:
        """There is nothing to keep."""
