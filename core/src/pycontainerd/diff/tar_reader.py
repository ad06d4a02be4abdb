"""Reads a tar stream entry by entry from chunks of any size, without seeking and without holding more than a chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pycontainerd.contracts.errors import DataLoss, InvalidArgument

from . import pax
from .limits import Limits
from .tar_header import (
    BLOCK,
    GNU_LINK,
    GNU_NAME,
    GNU_SPARSE,
    KINDS,
    PAX,
    PAX_GLOBAL,
    PAX_SOLARIS,
    REGULAR,
    ZERO,
    Entry,
    gnu_sparse_more,
    gnu_sparse_regions,
    parse,
)

_EXTENDED = frozenset((PAX, PAX_SOLARIS, GNU_NAME, GNU_LINK))


class TarReader:
    """The entries of a tar stream. Call `next`, read the entry's `data` or not, call `next` again."""

    def __init__(self, chunks: Iterable[bytes], limits: Limits | None = None) -> None:
        self._chunks = iter(chunks)
        self._limits = limits or Limits()
        self._chunk = b""
        self._at = 0  # in the chunk
        self._base = 0  # of the chunk in the stream
        self._left = 0  # data of the current entry not read yet
        self._padding = 0  # after it
        self._headers = 0

    @property
    def offset(self) -> int:
        """Bytes of the archive read so far."""
        return self._base + self._at

    def next(self) -> Entry | None:
        """The next entry, or None at the end of the archive (the stream may go on after it).

        :raises DataLoss: the archive is malformed or ends in the middle.
        :raises InvalidArgument: an entry has values that cannot be, or exceeds a limit.
        :raises ResourceExhausted: there are more headers than the limit.
        """
        if self._left or self._padding:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
        at = self._at + BLOCK
        if at <= len(self._chunk):  # by far the most frequent: the whole header in the chunk
            block: bytes | None = self._chunk[self._at : at]
            self._at = at
        else:
            block = self._block()
        if block is None or block == ZERO:
            return None
        entry = self._parse(block)
        if entry.kind not in KINDS:
            extended = self._extended(entry, block)
            if extended is None:
                return None
            entry = extended
        if (entry.uid | entry.gid) >> 32 or entry.major >> 12 or entry.minor >> 20:
            raise InvalidArgument(f"{entry}: owner or device number out of range")
        self._left = entry.size
        self._padding = -entry.size % BLOCK
        if entry.sparse is not None:
            self._check_sparse(entry)
        return entry

    def data(self) -> Iterator[memoryview]:
        """The data of the current entry, as it comes."""
        while self._left:
            if self._at == len(self._chunk) and not self._fill():
                raise self._truncated("the data of an entry")
            size = min(self._left, len(self._chunk) - self._at)
            view = memoryview(self._chunk)[self._at : self._at + size]
            self._at += size
            self._left -= size
            yield view

    def drain(self) -> None:
        """Read to the end of the stream, so that whoever feeds it sees all of it."""
        for chunk in self._chunks:
            self._base += len(self._chunk)
            self._chunk, self._at = chunk, 0

    def _parse(self, block: bytes) -> Entry:
        self._headers += 1
        if self._headers > self._limits.max_entries:
            raise self._limits.exceeded("max_entries", self._headers, f"tar at byte {self.offset}")
        return parse(block, self.offset - BLOCK)

    def _extended(self, entry: Entry, block: bytes) -> Entry | None:
        """What extended headers say, gathered until the entry that they are for."""
        records: pax.Records = []
        name = link = b""
        pending = False
        while entry.kind not in KINDS and entry.kind != GNU_SPARSE:
            if entry.kind == PAX_GLOBAL:
                self._payload(entry)  # defaults for all entries: layers have none that mean anything
            elif entry.kind in _EXTENDED:
                payload, pending = self._payload(entry), True
                if entry.kind == GNU_NAME:
                    name = payload.split(b"\0", 1)[0]
                elif entry.kind == GNU_LINK:
                    link = payload.split(b"\0", 1)[0]
                else:
                    records += pax.parse(payload, entry.offset)
            else:
                raise InvalidArgument(f"{entry}: tar entries of type {entry.kind!r} are not supported")
            following = self._block()
            if following is None or following == ZERO:
                if pending:
                    raise self._truncated("an extended header, whose entry is missing")
                return None
            block = following
            entry = self._parse(block)
        if entry.kind == GNU_SPARSE:
            self._gnu_sparse(entry, block)
        entry.name, entry.link = name or entry.name, link or entry.link
        pax.apply(entry, records, self._limits)
        return entry

    def _payload(self, entry: Entry) -> bytes:
        if entry.size > self._limits.max_pax:
            raise self._limits.exceeded("max_pax", entry.size, f"extended tar header at byte {entry.offset}")
        payload = self._exactly(entry.size, "an extended header")
        self._skip(-entry.size % BLOCK)
        return payload

    def _gnu_sparse(self, entry: Entry, block: bytes) -> None:
        regions, more, entry.real_size = gnu_sparse_regions(block, entry.offset)
        while more:
            further, more = gnu_sparse_more(self._exactly(BLOCK, "a sparse map"), entry.offset)
            regions += further
            if len(regions) > self._limits.max_sparse_regions:
                raise self._limits.exceeded("max_sparse_regions", len(regions), str(entry))
        entry.kind, entry.sparse = REGULAR, regions

    def _check_sparse(self, entry: Entry) -> None:
        """Regions must follow one another within the file, and their data must be what the archive has."""
        if not entry.sparse and self._left:
            entry.sparse = self._leading_map(entry)
        end = total = 0
        for offset, length in entry.sparse or ():
            if offset < end or length < 0:
                raise InvalidArgument(f"{entry}: regions of the sparse map overlap")
            end, total = offset + length, total + length
        if end > entry.real_size or total != self._left or entry.real_size >= 1 << 62:
            raise InvalidArgument(f"{entry}: the sparse map does not fit the file")

    def _leading_map(self, entry: Entry) -> list[tuple[int, int]]:
        """GNU sparse format 1.0: decimal lines before the data, padded to a block. First the number of regions."""
        lines: list[bytes] = []
        rest = b""
        wanted = 1
        while len(lines) < wanted:
            if self._left < BLOCK:
                raise DataLoss(f"{entry}: the sparse map is cut off")
            *found, rest = (rest + self._exactly(BLOCK, "a sparse map")).split(b"\n")
            self._left -= BLOCK
            lines += found
            if not lines and len(rest) > BLOCK:
                raise DataLoss(f"{entry}: the sparse map is malformed")
            if lines and wanted == 1:
                regions = pax.whole(entry, lines[0], "sparse map")
                if regions > self._limits.max_sparse_regions:
                    raise self._limits.exceeded("max_sparse_regions", regions, str(entry))
                wanted = 1 + 2 * regions
            if len(rest) > BLOCK:
                raise DataLoss(f"{entry}: the sparse map is malformed")
        return pax.pairs(entry, lines[1:wanted], self._limits)

    def _fill(self) -> bool:
        """Get the next chunk that is not empty; False at the end of the stream."""
        self._base += len(self._chunk)
        self._at = 0
        self._chunk = next(filter(None, self._chunks), b"")
        return bool(self._chunk)

    def _block(self) -> bytes | None:
        """512 bytes, or None where the stream ends before the first of them."""
        if self._at == len(self._chunk) and not self._fill():
            return None
        return self._exactly(BLOCK, "a header")

    def _exactly(self, size: int, what: str) -> bytes:
        found = self._chunk[self._at : self._at + size]
        self._at += len(found)
        parts = [found]
        missing = size - len(found)
        while missing:
            if not self._fill():
                raise self._truncated(what)
            found = self._chunk[:missing]
            self._at = len(found)
            missing -= len(found)
            parts.append(found)
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        while size > len(self._chunk) - self._at:
            size -= len(self._chunk) - self._at
            self._at = len(self._chunk)
            if not self._fill():
                raise self._truncated("the data of an entry")
        self._at += size

    def _truncated(self, what: str) -> DataLoss:
        return DataLoss(f"the tar archive ends at byte {self.offset}, in the middle of {what}")
