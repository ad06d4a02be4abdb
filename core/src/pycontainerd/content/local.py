"""The content store on a local file system, in the Go containerd's layout.

``<root>/blobs/<algorithm>/<hex>`` are blobs, read-only; ``<root>/ingest/<sha256 of the ref>/`` are ingests (ingest.py).
Labels are not kept here: the metadata has them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from pycontainerd.contracts import digests
from pycontainerd.contracts.content import ContentInfo, ContentReader, ContentWriter, IngestStatus
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from pycontainerd.contracts.filters import parse
from pycontainerd.sys.fs import fsync_dir

from .fields import info_field, status_field
from .ingest import IngestDirectory
from .writer import LocalWriter

MAX_REF = 8192  # bytes; room for a client's ref and what the namespaced store puts before it


class LocalReader:
    """A blob open for reading."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LocalStore:
    """See `contracts.content.ContentStore`; knows no namespaces and keeps no labels."""

    def __init__(self, root: str) -> None:
        self._blobs = os.path.join(root, "blobs")
        self._ingests = os.path.join(root, "ingest")
        self._held: dict[str, LocalWriter | None] = {}
        self._lock = threading.Lock()
        os.makedirs(os.path.join(self._blobs, "sha256"), mode=0o755, exist_ok=True)
        os.makedirs(self._ingests, mode=0o755, exist_ok=True)

    def path(self, digest: str) -> str:
        """Where the blob ``digest`` is or would be."""
        algorithm, _, hex_digits = digests.validate(digest).partition(":")
        return os.path.join(self._blobs, algorithm, hex_digits)

    def info(self, digest: str) -> ContentInfo:
        try:
            status = os.stat(self.path(digest))
        except FileNotFoundError:
            raise _no_blob(digest) from None
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return ContentInfo(digest, status.st_size, modified, modified)

    def update(self, digest: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> ContentInfo:
        del labels, fieldpaths
        raise FailedPrecondition(f"cannot label {digest} in the local store: labels belong to namespaces")

    def walk(self, filters: Sequence[str] = ()) -> Iterator[ContentInfo]:
        wanted = parse(filters)
        for algorithm in sorted(os.listdir(self._blobs)):
            with contextlib.suppress(NotADirectoryError), os.scandir(os.path.join(self._blobs, algorithm)) as entries:
                for entry in entries:
                    info = self._info_or_none(f"{algorithm}:{entry.name}")
                    if info is not None and wanted.match(partial(info_field, info)):
                        yield info

    def delete(self, digest: str) -> None:
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            raise _no_blob(digest) from None

    def open(self, digest: str) -> ContentReader:
        try:
            return LocalReader(os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            raise _no_blob(digest) from None

    def writer(self, ref: str, *, total: int = 0, expected: str = "") -> ContentWriter:
        if expected and os.path.exists(self.path(expected)):
            raise AlreadyExists(f"content {expected}: already exists")
        directory = self._directory(ref)
        with self._lock:
            if directory in self._held:
                raise Unavailable(f"ref {ref} is locked: another writer has it", hint="try again when it is done")
            self._held[directory] = None
        try:
            writer = LocalWriter(self, directory, ref, total, expected, partial(self._release, directory))
        except BaseException:
            self._release(directory)
            raise
        with self._lock:
            self._held[directory] = writer
        return writer

    def status(self, ref: str) -> IngestStatus:
        try:
            return IngestDirectory(self._directory(ref)).status()
        except NotFound:
            raise NotFound(f"ingest ref {ref}: not found") from None

    def statuses(self, filters: Sequence[str] = ()) -> Iterator[IngestStatus]:
        wanted = parse(filters)
        for name in sorted(os.listdir(self._ingests)):
            with contextlib.suppress(NotFound, NotADirectoryError):  # committed or aborted since, or no ingest
                status = IngestDirectory(os.path.join(self._ingests, name)).status()
                if wanted.match(partial(status_field, status)):
                    yield status

    def abort(self, ref: str) -> None:
        """Forget the ingest; one that is being written is taken from its writer."""
        directory = self._directory(ref)
        with self._lock:
            if directory in self._held and self._held[directory] is None:
                raise Unavailable(f"ref {ref} is being opened", hint="try again")
            writer = self._held.get(directory)
        if writer is not None:
            writer.cancel()
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            raise NotFound(f"ingest ref {ref}: not found") from None

    def publish(self, data: str, digest: str) -> None:
        """Move the finished file ``data`` into place as blob ``digest``, durably."""
        target = self.path(digest)
        parent = os.path.dirname(target)
        if not os.path.isdir(parent):
            os.makedirs(parent, mode=0o755, exist_ok=True)
            fsync_dir(self._blobs)
        os.rename(data, target)
        fsync_dir(parent)

    def _release(self, directory: str) -> None:
        with self._lock:
            self._held.pop(directory, None)

    def _directory(self, ref: str) -> str:
        raw = ref.encode()
        if not raw or len(raw) > MAX_REF:
            raise InvalidArgument(f"an ingest ref must have 1 to {MAX_REF} bytes, this has {len(raw)}")
        return os.path.join(self._ingests, hashlib.sha256(raw).hexdigest())

    def _info_or_none(self, digest: str) -> ContentInfo | None:
        try:
            return self.info(digest)
        except (NotFound, InvalidArgument):  # deleted since, or not a blob
            return None


def _no_blob(digest: str) -> NotFound:
    return NotFound(f"content {digest}: not found")
