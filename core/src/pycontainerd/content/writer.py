"""The writer of one ingest on disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from pycontainerd.contracts import digests
from pycontainerd.contracts.content import ContentInfo, IngestStatus
from pycontainerd.contracts.errors import (
    DISK_FULL,
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from pycontainerd.contracts.types import EMPTY, now

from .ingest import IngestDirectory

CHUNK = 1 << 20


class _Store(Protocol):
    def path(self, digest: str) -> str: ...

    def publish(self, data: str, digest: str) -> None: ...


class LocalWriter:
    """See `contracts.content.ContentWriter`. Resuming hashes what is there already.

    Its lock keeps `cancel`, which comes from another thread, out of a write or commit under way.
    """

    def __init__(
        self, store: _Store, directory: str, ref: str, total: int, algorithm: str, release: Callable[[], None]
    ) -> None:
        self._store = store
        self._ingest = IngestDirectory(directory)
        self._ref = ref
        self._total = total
        self._algorithm = algorithm
        self._release = release
        self._lock = threading.Lock()
        self._hash: Any = digests.hasher(algorithm)
        self._offset = 0
        self._cancelled = False
        self._started, self._updated = self._begin()
        self._fd = os.open(self._ingest.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._resume()
        except BaseException:
            os.close(self._fd)
            raise

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        with self._lock, self._explained("write"):
            fd = self._open_fd()
            while view:
                written = os.write(fd, view)
                self._hash.update(view[:written])
                self._offset += written
                view = view[written:]
            self._updated = now()
        return self._offset

    def truncate(self, size: int = 0) -> None:
        if size != 0:
            raise InvalidArgument(f"cannot truncate ingest {self._ref} to {size} bytes: only 0 is possible")
        with self._lock, self._explained("truncate"):
            os.ftruncate(self._open_fd(), 0)
            os.lseek(self._open_fd(), 0, os.SEEK_SET)
            self._hash = digests.hasher(self._algorithm)
            self._offset = 0
            self._updated = now()

    def digest(self) -> str:
        return digests.text(self._hash)

    def status(self) -> IngestStatus:
        return IngestStatus(self._ref, self._offset, self._total, "", self._started, self._updated)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        """See the contract. Whatever happens the writer is closed; what was written stays unless the blob is there."""
        del labels  # the local store keeps none
        with self._lock:
            self._open_fd()
            try:
                with self._explained("commit"):
                    return self._commit(size, expected)
            finally:
                self._close()

    def close(self) -> None:
        """Keep what was written for a later resume."""
        with self._lock:
            if self._fd >= 0:
                with contextlib.suppress(OSError):  # a convenience for status; the data is what counts
                    self._ingest.touch(self._updated)
            self._close()

    def cancel(self) -> None:
        """Close it because the ingest is being aborted: its owner gets `Aborted` from here on."""
        with self._lock:
            self._cancelled = True
            self._close()

    def _begin(self) -> tuple[datetime, datetime]:
        """The times of the ingest; one that is not whole, or was announced with another size, begins anew."""
        try:
            found = self._ingest.status()
        except NotFound:
            found = None
        if found is None or found.ref != self._ref or (self._total and found.total not in (0, self._total)):
            started = self._ingest.begin(self._ref, self._total)
            return started, started
        self._total = found.total or self._total
        return found.started_at, found.updated_at

    def _resume(self) -> None:
        while chunk := os.pread(self._fd, CHUNK, self._offset):
            self._hash.update(chunk)
            self._offset += len(chunk)
        os.lseek(self._fd, self._offset, os.SEEK_SET)

    def _commit(self, size: int, expected: str) -> ContentInfo:
        if size and size != self._offset:
            raise FailedPrecondition(f"ingest {self._ref} has {self._offset} bytes, {size} were promised")
        if expected and digests.validate(expected).partition(":")[0] != self._hash.name:
            self._hash = self._rehash(expected)
        digest = self.digest()
        if expected and expected != digest:
            raise FailedPrecondition(f"ingest {self._ref} has digest {digest}, {expected} was expected")
        if os.path.exists(self._store.path(digest)):
            self._remove()
            raise AlreadyExists(f"content {digest}: already exists")
        os.fchmod(self._fd, 0o444)
        os.utime(self._fd)
        os.fsync(self._fd)
        self._store.publish(self._ingest.data, digest)
        self._remove()
        moment = now()
        return ContentInfo(digest, self._offset, moment, moment)

    def _rehash(self, expected: str) -> Any:
        """A hash of everything in the algorithm of ``expected``, which was not known when the writer was opened."""
        state = digests.hasher(expected)
        offset = 0
        while chunk := os.pread(self._fd, CHUNK, offset):
            state.update(chunk)
            offset += len(chunk)
        return state

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # the blob is there; a left-over directory without data is no ingest
            shutil.rmtree(self._ingest.path)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._release()

    def _open_fd(self) -> int:
        if self._cancelled:
            raise Aborted(f"ingest {self._ref} was aborted while it was being written")
        if self._fd < 0:
            raise FailedPrecondition(f"the writer of ingest {self._ref} is closed")
        return self._fd

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ResourceExhausted(
                f"cannot {what} ingest {self._ref} at {self._offset} bytes: {exc.strerror}",
                hint=DISK_FULL,
            ) from exc
