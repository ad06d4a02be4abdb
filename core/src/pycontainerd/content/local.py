"""The content store on a local file system, in the Go containerd's layout.

``<root>/blobs/<algorithm>/<hex>`` are blobs; ``<root>/ingest/<hash of ref>/`` has ``data``, ``ref``, ``total``,
``startedat`` and ``updatedat`` of one ingest. Labels are not kept here: the metadata has them.
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
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from pycontainerd.contracts.filters import parse
from pycontainerd.sys.fs import fsync_dir

from .fields import info_field, status_field
from .writer import LocalWriter

MAX_REF = 4096  # characters


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
        self._root = root
        self._ingests = os.path.join(root, "ingest")
        self._held: set[str] = set()
        self._lock = threading.Lock()
        os.makedirs(os.path.join(root, "blobs", "sha256"), mode=0o755, exist_ok=True)
        os.makedirs(self._ingests, mode=0o755, exist_ok=True)

    def path(self, digest: str) -> str:
        """Where the blob ``digest`` is or would be."""
        algorithm, _, hex_digits = digests.validate(digest).partition(":")
        return os.path.join(self._root, "blobs", algorithm, hex_digits)

    def info(self, digest: str) -> ContentInfo:
        try:
            status = os.stat(self.path(digest))
        except FileNotFoundError:
            raise NotFound(f"content {digest}: not found") from None
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return ContentInfo(digest, status.st_size, modified, modified)

    def update(self, digest: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> ContentInfo:
        del labels, fieldpaths
        raise NotImplementedError(f"cannot label {digest} in the local store: labels belong to namespaces")

    def walk(self, filters: Sequence[str] = ()) -> Iterator[ContentInfo]:
        wanted = parse(filters)
        blobs = os.path.join(self._root, "blobs")
        for algorithm in sorted(os.listdir(blobs)):
            for name in sorted(os.listdir(os.path.join(blobs, algorithm))):
                with contextlib.suppress(NotFound, InvalidArgument):  # deleted since, or not a blob
                    info = self.info(f"{algorithm}:{name}")
                    if wanted.match(partial(info_field, info)):
                        yield info

    def delete(self, digest: str) -> None:
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            raise NotFound(f"content {digest}: not found") from None

    def open(self, digest: str) -> ContentReader:
        try:
            return LocalReader(os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            raise NotFound(f"content {digest}: not found") from None

    def writer(self, ref: str, *, total: int = 0, expected: str = "") -> ContentWriter:
        if expected and os.path.exists(self.path(expected)):
            raise AlreadyExists(f"content {expected}: already exists")
        directory = self._directory(ref)
        with self._lock:
            if directory in self._held:
                raise Unavailable(f"ref {ref} is locked: another writer has it", hint="try again when it is done")
            self._held.add(directory)
        try:
            return LocalWriter(self, directory, ref, total, expected, lambda: self._release(directory))
        except BaseException:
            self._release(directory)
            raise

    def status(self, ref: str) -> IngestStatus:
        return self._status(self._directory(ref), ref)

    def statuses(self, filters: Sequence[str] = ()) -> Iterator[IngestStatus]:
        wanted = parse(filters)
        for name in sorted(os.listdir(self._ingests)):
            with contextlib.suppress(NotFound):  # committed or aborted since
                status = self._status(os.path.join(self._ingests, name))
                if wanted.match(partial(status_field, status)):
                    yield status

    def abort(self, ref: str) -> None:
        directory = self._directory(ref)
        with self._lock:
            if directory in self._held:
                raise Unavailable(f"ref {ref} is locked: a writer has it", hint="close the writer first")
            if not os.path.isdir(directory):
                raise NotFound(f"ingest ref {ref}: not found")
            shutil.rmtree(directory)

    def publish(self, data: str, digest: str) -> None:
        """Move the finished file ``data`` into place as blob ``digest``, durably."""
        target = self.path(digest)
        parent = os.path.dirname(target)
        os.makedirs(parent, mode=0o755, exist_ok=True)
        os.rename(data, target)
        fsync_dir(parent)

    def _release(self, directory: str) -> None:
        with self._lock:
            self._held.discard(directory)

    def _directory(self, ref: str) -> str:
        if not ref or len(ref) > MAX_REF:
            raise InvalidArgument(f"an ingest ref must have 1 to {MAX_REF} characters, this has {len(ref)}")
        return os.path.join(self._ingests, hashlib.sha256(ref.encode()).hexdigest())

    def _status(self, directory: str, ref: str = "") -> IngestStatus:
        try:
            data = os.stat(os.path.join(directory, "data"))
            ref = ref or _read(directory, "ref")
            started = os.stat(os.path.join(directory, "ref")).st_mtime
        except FileNotFoundError:
            raise NotFound(f"ingest ref {ref or directory}: not found") from None
        total = _read(directory, "total")
        return IngestStatus(
            ref,
            data.st_size,
            int(total) if total.isdigit() else 0,
            "",
            datetime.fromtimestamp(started, UTC),
            datetime.fromtimestamp(data.st_mtime, UTC),
        )


def _read(directory: str, name: str) -> str:
    try:
        with open(os.path.join(directory, name), encoding="utf-8") as handle:
            return handle.read(2 * MAX_REF)
    except FileNotFoundError:
        return ""
