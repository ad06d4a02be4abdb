"""Writers of namespaced content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from pycontainerd.contracts import digests
from pycontainerd.contracts.content import ContentInfo, ContentWriter, IngestStatus
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from pycontainerd.contracts.labels import validate
from pycontainerd.contracts.types import EMPTY, now


class _Scoped(Protocol):
    def record(self, ref: str, info: ContentInfo, labels: Mapping[str, str]) -> ContentInfo: ...

    def backend_info(self, digest: str) -> ContentInfo: ...

    def exclusive(self, digest: str) -> AbstractContextManager[None]: ...


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
        return attrs.evolve(self._inner.status(), ref=self._ref)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        try:
            validate(labels)
            if expected:
                digests.validate(expected)
            digest = expected or self._inner.digest()
            with self._scoped.exclusive(digest):
                try:
                    info = self._inner.commit(size, expected)
                except AlreadyExists:
                    info = self._scoped.backend_info(digest)
                return self._scoped.record(self._ref, info, labels)
        finally:
            self._inner.close()

    def close(self) -> None:
        self._inner.close()


class SharedWriter:
    """The writer of a blob that another namespace has: complete from the start, it only needs its commit.

    Truncated, or written to, it becomes a writer of bytes of its own, made by ``own``.
    """

    def __init__(self, scoped: _Scoped, ref: str, info: ContentInfo, own: Callable[[], ContentWriter]) -> None:
        self._scoped = scoped
        self._ref = ref
        self._info = info
        self._own = own
        self._started = now()
        self._writer: ContentWriter | None = None

    def write(self, data: bytes | memoryview) -> int:
        if self._writer is None:
            if not len(data):
                return self._info.size
            raise FailedPrecondition(
                f"ingest {self._ref} is complete: {self._info.digest} is in the store", hint="commit or truncate it"
            )
        return self._writer.write(data)

    def truncate(self, size: int = 0) -> None:
        if size:
            raise InvalidArgument(f"cannot truncate ingest {self._ref} to {size} bytes: only 0 is possible")
        if self._writer is None:
            self._writer = ScopedWriter(self._scoped, self._ref, self._own())
        self._writer.truncate(0)

    def digest(self) -> str:
        return self._writer.digest() if self._writer else self._info.digest

    def status(self) -> IngestStatus:
        if self._writer:
            return self._writer.status()
        size = self._info.size
        return IngestStatus(self._ref, size, size, self._info.digest, self._started, self._started)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        if self._writer:
            return self._writer.commit(size, expected, labels)
        if size and size != self._info.size:
            raise FailedPrecondition(f"{self._info.digest} has {self._info.size} bytes, {size} were promised")
        if expected and expected != self._info.digest:
            raise FailedPrecondition(f"ingest {self._ref} has digest {self._info.digest}, {expected} was expected")
        with self._scoped.exclusive(self._info.digest):
            return self._scoped.record(self._ref, self._scoped.backend_info(self._info.digest), labels)

    def close(self) -> None:
        if self._writer:
            self._writer.close()
