"""Files with holes in a tar: GNU's sparse format 1.0, a map before the data."""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Iterator

from pycontainerd.contracts.errors import FailedPrecondition

from .limits import Limits
from .tar_header import BLOCK

_MAX_REGIONS = Limits().max_sparse_regions
_CHUNK = 1 << 20


class Holes:
    """A file for the tar writer to read: the map of the regions that have data, and then their data."""

    def __init__(self, fd: int, size: int, regions: list[tuple[int, int]]) -> None:
        self._fd = fd
        self._size = size
        lines = [len(regions), *(number for region in regions for number in region)]
        text = b"".join(b"%d\n" % number for number in lines)
        self._map = text + bytes(-len(text) % BLOCK)
        self._stored = len(self._map) + sum(length for _, length in regions)
        self._chunks = self._read(regions)
        self._rest = b""

    @classmethod
    def of(cls, fd: int, status: os.stat_result) -> Holes | None:
        """None where the file has no holes (or more than a reader would take)."""
        if status.st_blocks * 512 >= status.st_size:
            return None
        regions = list(_regions(fd, status.st_size))
        whole = regions == [(0, status.st_size)]
        return None if whole or len(regions) > _MAX_REGIONS else cls(fd, status.st_size, regions)

    def describe(self, info: tarfile.TarInfo) -> tarfile.TarInfo:
        """Make ``info`` that of a sparse file."""
        directory, _, name = info.name.rpartition("/")
        info.pax_headers = {
            **info.pax_headers,
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": info.name,
            "GNU.sparse.realsize": str(self._size),
        }
        info.name = "/".join(filter(None, (directory, "GNUSparseFile.0", name)))
        info.size = self._stored
        return info

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, or what is left."""
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _read(self, regions: list[tuple[int, int]]) -> Iterator[bytes]:
        yield self._map
        for start, length in regions:
            at, end = start, start + length
            while at < end:
                chunk = os.pread(self._fd, min(_CHUNK, end - at), at)
                if not chunk:
                    raise FailedPrecondition("a file became shorter while it was read", hint="stop what writes to it")
                at += len(chunk)
                yield chunk


def _regions(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where data is: offset and length."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return  # only a hole is left
            raise
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < at:
            yield start, at - start
