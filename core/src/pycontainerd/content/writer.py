"""The writer of one ingest on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from pycontainerd.contracts import digests
from pycontainerd.contracts.content import ContentInfo, IngestStatus
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from pycontainerd.contracts.types import EMPTY, now

_CHUNK = 1 << 20


class _Store(Protocol):
    def path(self, digest: str) -> str: ...

    def publish(self, data: str, digest: str) -> None: ...


class LocalWriter:
    """See `contracts.content.ContentWriter`. Resuming hashes what is there already."""

    def __init__(
        self, store: _Store, directory: str, ref: str, total: int, expected: str, release: Callable[[], None]
    ) -> None:
        self._store = store
        self._directory = directory
        self._ref = ref
        self._total = total
        self._expected = expected
        self._release = release
        self._data = os.path.join(directory, "data")
        self._hash: Any = digests.hasher(expected)
        self._offset = 0
        self._started = now()
        self._fd = self._begin()

    def _begin(self) -> int:
        os.makedirs(self._directory, mode=0o755, exist_ok=True)
        ref_file = os.path.join(self._directory, "ref")
        if os.path.exists(ref_file):
            self._started = datetime.fromtimestamp(os.stat(ref_file).st_mtime, UTC)
        else:
            self._note("ref", self._ref)
            self._note("startedat", self._started.isoformat())
        if self._total:
            self._note("total", str(self._total))
        fd = os.open(self._data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        while chunk := os.pread(fd, _CHUNK, self._offset):
            self._hash.update(chunk)
            self._offset += len(chunk)
        os.lseek(fd, self._offset, os.SEEK_SET)
        return fd

    def _note(self, name: str, text: str) -> None:
        with open(os.path.join(self._directory, name), "w", encoding="utf-8") as handle:
            handle.write(text)

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data)
        self._hash.update(view)
        while view:
            written = os.write(self._open_fd(), view)
            self._offset += written
            view = view[written:]
        return self._offset

    def truncate(self, size: int = 0) -> None:
        if size != 0:
            raise InvalidArgument(f"cannot truncate ingest {self._ref} to {size} bytes: only 0 is possible")
        os.ftruncate(self._open_fd(), 0)
        os.lseek(self._open_fd(), 0, os.SEEK_SET)
        self._hash = digests.hasher(self._expected)
        self._offset = 0

    def digest(self) -> str:
        return digests.text(self._hash)

    def status(self) -> IngestStatus:
        updated = datetime.fromtimestamp(os.fstat(self._open_fd()).st_mtime, UTC)
        return IngestStatus(self._ref, self._offset, self._total, self._expected, self._started, updated)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        del labels  # the local store keeps none
        fd = self._open_fd()
        if size and size != self._offset:
            raise FailedPrecondition(f"ingest {self._ref} has {self._offset} bytes, {size} were promised")
        digest = self.digest()
        if expected and expected.partition(":")[0] != self._hash.name:
            digest = self._rehash(digests.validate(expected))
        if expected and expected != digest:
            raise FailedPrecondition(f"ingest {self._ref} has digest {digest}, {expected} was expected")
        if os.path.exists(self._store.path(digest)):
            self._finish()
            raise AlreadyExists(f"content {digest}: already exists")
        os.fchmod(fd, 0o444)
        os.fsync(fd)
        self._store.publish(self._data, digest)
        self._finish()
        moment = now()
        return ContentInfo(digest, self._offset, moment, moment)

    def close(self) -> None:
        """Keep what was written for a later resume."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._release()

    def _rehash(self, expected: str) -> str:
        """The digest in the algorithm of ``expected``, when the writer was opened without one."""
        state = digests.hasher(expected)
        offset = 0
        while chunk := os.pread(self._open_fd(), _CHUNK, offset):
            state.update(chunk)
            offset += len(chunk)
        return digests.text(state)

    def _finish(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory)
        self.close()

    def _open_fd(self) -> int:
        if self._fd < 0:
            raise FailedPrecondition(f"the writer of ingest {self._ref} is closed")
        return self._fd
