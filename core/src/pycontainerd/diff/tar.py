"""Reading tar from untrusted hands: ustar, PAX and GNU headers, one entry at a time, everything bounded.

Pure: bytes in, entries out. POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pycontainerd.contracts.errors import DataLoss, InvalidArgument, NotImplemented, ResourceExhausted

BLOCK = 512
NUL = b"\0"
MAX_PAX = 1 << 20  # bytes of one extended header
MAX_NAME = 4096  # bytes of a path
MAX_ENTRIES = 10_000_000
XATTR = "SCHILY.xattr."

REGULAR, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_PLAIN = {b"\0": REGULAR, b"7": REGULAR}
KNOWN = frozenset((REGULAR, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO))


@attrs.define(slots=True)
class Entry:
    """One entry. ``name`` is as the archive gives it, not made safe; ``mtime`` in nanoseconds."""

    name: str
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    linkname: str
    major: int
    minor: int
    xattrs: dict[str, bytes]


class Stream:
    """Bytes of an iterator of chunks, taken in any measure."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = memoryview(b"")
        self.offset = 0

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or fewer at the end."""
        if len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            self._buffer = self._buffer[size:]
            self.offset += size
            return data
        return b"".join(self.pieces(size, short_ok=True))

    def pieces(self, size: int, *, short_ok: bool = False) -> Iterator[memoryview]:
        """``size`` bytes in pieces, without copying.

        :raises DataLoss: the stream ends before (unless ``short_ok``).
        """
        while size:
            if not self._buffer:
                chunk = next(self._chunks, None)
                if chunk is None:
                    if short_ok:
                        return
                    raise DataLoss(f"the archive is truncated at offset {self.offset}: {size} bytes are missing")
                self._buffer = memoryview(chunk)
                continue
            piece = self._buffer[:size]
            self._buffer = self._buffer[len(piece) :]
            self.offset += len(piece)
            size -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read to the end, so that whoever feeds the stream sees all of it."""
        self._buffer = memoryview(b"")
        for _ in self._chunks:
            pass


def entries(stream: Stream) -> Iterator[Entry]:
    """The entries of the archive in ``stream``. The data of an entry not read by the caller is skipped.

    :raises DataLoss: a header does not add up or the archive is truncated.
    :raises InvalidArgument: a header says what cannot be.
    :raises ResourceExhausted: a limit is exceeded; says which.
    :raises NotImplemented: an entry type that no layer needs (sparse formats of GNU tar).
    """
    extra: dict[str, str | bytes] = {}
    common: dict[str, str | bytes] = {}
    for count in range(MAX_ENTRIES + 1):
        if count == MAX_ENTRIES:
            raise ResourceExhausted(f"the archive has more than {MAX_ENTRIES} entries")
        header = stream.read(BLOCK)
        if not header or not any(header):
            return
        entry = _header(header, stream.offset - BLOCK)
        if entry.type in (b"x", b"X", b"g"):
            records = pax_records(_extended(stream, entry.size))
            (common if entry.type == b"g" else extra).update(records)
            continue
        if entry.type in (b"L", b"K"):
            extra["path" if entry.type == b"L" else "linkpath"] = _text(_extended(stream, entry.size).rstrip(b"\0"))
            continue
        _override(entry, {**common, **extra} if common else extra)
        extra = {}
        _check(entry)
        end = stream.offset + entry.size
        padding = -entry.size % BLOCK
        yield entry
        for _ in stream.pieces(end - stream.offset + padding):
            pass


def _extended(stream: Stream, size: int) -> bytes:
    if size > MAX_PAX:
        raise ResourceExhausted(f"an extended header of {size} bytes at offset {stream.offset}, the limit is {MAX_PAX}")
    data = b"".join(stream.pieces(size))
    for _ in stream.pieces(-size % BLOCK):
        pass
    return data


def _header(block: bytes, offset: int) -> Entry:
    stored = number(block[148:156], offset)
    if sum(block) - sum(block[148:156]) + 256 != stored:
        raise DataLoss(f"the tar header at offset {offset} is corrupt: its checksum is wrong")
    name = _text(block[:100].split(b"\0", 1)[0])
    kind = block[156:157]
    if block[257:263] == b"ustar\0" and block[345] and kind not in (b"L", b"K"):
        name = f"{_text(block[345:500].split(NUL, 1)[0])}/{name}"
    return Entry(
        name,
        _PLAIN.get(kind, kind),
        number(block[100:108], offset) & 0o7777,
        number(block[108:116], offset),
        number(block[116:124], offset),
        number(block[124:136], offset),
        number(block[136:148], offset) * 1_000_000_000,
        _text(block[157:257].split(b"\0", 1)[0]),
        number(block[329:337], offset),
        number(block[337:345], offset),
        {},
    )


def number(field: bytes, offset: int) -> int:
    """A numeric field: octal, or base 256 where its first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field, "big", signed=True) if field[0] & 0x40 else int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not text:
        return 0
    try:
        return int(text.split(b"\0", 1)[0], 8)
    except ValueError:
        raise DataLoss(f"the tar header at offset {offset} is corrupt: {text!r} is not a number") from None


def pax_records(data: bytes) -> dict[str, str | bytes]:
    """The records ``LENGTH KEY=VALUE\\n`` of an extended header; values of extended attributes stay bytes."""
    records: dict[str, str | bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        try:
            length = int(data[at:space]) if space > 0 else 0
        except ValueError:
            length = 0
        key, equals, value = data[space + 1 : at + length - 1].partition(b"=")
        if length < 5 or at + length > len(data) or not equals or data[at + length - 1] != 0x0A:
            raise DataLoss("an extended tar header is corrupt: a record does not add up")
        name = _text(key)
        records[name] = value if name.startswith(XATTR) else _text(value)
        at += length
    return records


def _override(entry: Entry, records: dict[str, str | bytes]) -> None:
    for key, value in records.items():
        if isinstance(value, bytes):
            entry.xattrs[key.removeprefix(XATTR)] = value
        elif key == "path":
            entry.name = value
        elif key == "linkpath":
            entry.linkname = value
        elif key in ("size", "uid", "gid"):
            setattr(entry, key, _integer(key, value))
        elif key == "mtime":
            entry.mtime = _nanoseconds(value)
        elif key.startswith("GNU.sparse."):
            raise NotImplemented(f"{entry.name!r} is stored sparse in GNU tar's format, which layers do not use")


def _integer(key: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 20:
        raise DataLoss(f"an extended tar header is corrupt: {key}={value[:40]!r}")
    return int(value)


def _nanoseconds(value: str) -> int:
    seconds, _, fraction = value.partition(".")
    try:
        sign = -1 if seconds.startswith("-") else 1
        return sign * (abs(int(seconds)) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0))
    except ValueError:
        raise DataLoss(f"an extended tar header is corrupt: mtime={value[:40]!r}") from None


def _check(entry: Entry) -> None:
    if entry.type == b"S":
        raise NotImplemented(f"{entry.name!r} is stored sparse in GNU tar's format, which layers do not use")
    if entry.type not in KNOWN:
        raise InvalidArgument(f"{entry.name!r} has the unknown entry type {entry.type!r}")
    for text in (entry.name, entry.linkname):
        if len(text) > MAX_NAME or "\0" in text:
            raise InvalidArgument(f"the path {text[:64]!r}… of an entry is longer than {MAX_NAME} or holds a NUL")
    if entry.type != REGULAR:
        entry.size = 0  # what follows a header of these is never data
    if entry.size < 0 or entry.uid < 0 or entry.gid < 0:
        raise InvalidArgument(f"{entry.name!r} has a negative size or owner")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
