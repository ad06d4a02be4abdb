"""One 512-byte tar header (POSIX.1-1988 ustar, GNU and star dialects, v7). Pure.

Layers are untrusted, and a layer of a big image has tens of thousands of headers: this reads exactly what the formats
allow, and nothing it does not need.
"""

from __future__ import annotations

import struct
import zlib

import attrs

from pycontainerd.contracts.errors import DataLoss

BLOCK = 512
ZERO = bytes(BLOCK)

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
PAX, PAX_GLOBAL, PAX_SOLARIS, GNU_NAME, GNU_LINK, GNU_SPARSE = b"x", b"g", b"X", b"L", b"K", b"S"
_CONTIGUOUS = b"7"
_V7_REGULAR = b"\0"
KINDS = frozenset((REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))
WITHOUT_DATA = KINDS - {REGULAR}

_LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s8s64s8s8s155s12s")
_MAX_SIZE = 1 << 62
_MAX_TIME = 1 << 63  # nanoseconds since the epoch that file systems and the kernel agree on


@attrs.define
class Entry:
    """What a header, and the extended headers before it, say. ``kind`` is one of `KINDS` once all are read.

    ``size`` is what follows in the archive; for a sparse file ``sparse`` has the (offset, length) of each region of it
    and ``real_size`` the size of the file.
    """

    name: bytes
    kind: bytes
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int
    link: bytes
    major: int
    minor: int
    offset: int
    atime: int = 0
    xattrs: dict[str, bytes] | None = None
    sparse: list[tuple[int, int]] | None = None
    real_size: int = 0

    def __str__(self) -> str:
        return f"entry {self.name.decode(errors='replace')!r} at byte {self.offset}"


def number(field: bytes, what: str, offset: int) -> int:
    """A numeric field: octal digits, padded with spaces or ended by NUL; or base 256, marked by its first bit."""
    if field[0] & 0x80:
        # Two's complement in all bits but the mark.
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        return value - (1 << (len(field) * 8 - 1)) if field[0] & 0x40 else value
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise DataLoss(f"tar header at byte {offset}: {what} is not a number: {field!r}")


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _checksum_matches(block: bytes, stored: int) -> bool:
    """The sum of all bytes, those of the checksum itself taken as spaces. Adler-32's low half is that sum plus one."""
    adler = zlib.adler32(block[156:], zlib.adler32(block[:148])) & 0xFFFF
    if adler == (stored - 256 + 1) % 65521:
        return True
    # Some old writers summed signed characters.
    signed: int = sum(struct.unpack("148b8x356b", block)) + 256
    return signed == stored


def _prefixed(block: bytes, name: bytes, magic: bytes, prefix: bytes) -> bytes:
    if magic != b"ustar\x0000" and magic[:6] != b"ustar\0":
        return name  # GNU ("ustar  \0") and v7 keep other things there, or nothing
    if block[508:512] == b"tar\0":  # star: the prefix is shorter, times follow it
        prefix = prefix[:131]
    prefix = _text(prefix)
    return prefix + b"/" + name if prefix else name


def parse(block: bytes, offset: int) -> Entry:
    """The header in ``block`` (not one of zeros), found at ``offset`` of the archive.

    :raises DataLoss: it is none.
    """
    name, mode, uid, gid, size, mtime, check, kind, link, magic, _, major, minor, prefix, _ = _LAYOUT.unpack(block)
    if not _checksum_matches(block, number(check, "checksum", offset)):
        raise DataLoss(f"tar header at byte {offset}: wrong checksum")
    length = int(size[:11], 8) if size[:11].isdigit() else number(size, "size", offset)
    if not 0 <= length < _MAX_SIZE:
        raise DataLoss(f"tar header at byte {offset}: impossible size {length}")
    name = _text(name)
    if prefix[0]:
        name = _prefixed(block, name, magic, prefix)
    if kind == _V7_REGULAR:
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    elif kind == _CONTIGUOUS:
        kind = REGULAR
    device = kind in (CHARACTER, BLOCK_DEVICE)
    return Entry(
        name,
        kind,
        0 if kind in WITHOUT_DATA else length,
        number(mode, "mode", offset) & 0o7777,
        number(uid, "uid", offset),
        number(gid, "gid", offset),
        bounded_time(number(mtime, "mtime", offset) * 1_000_000_000),
        _text(link),
        number(major, "device", offset) if device else 0,
        number(minor, "device", offset) if device else 0,
        offset,
    )


def bounded_time(nanoseconds: int) -> int:
    """A time that can be set on a file: what lies before the epoch or beyond 2262 becomes the epoch."""
    return nanoseconds if 0 <= nanoseconds < _MAX_TIME else 0


def gnu_sparse_regions(block: bytes, offset: int) -> tuple[list[tuple[int, int]], bool, int]:
    """The regions in an old GNU sparse header, whether more blocks of them follow, and the real size of the file."""
    regions = _regions(block[386:482], offset)
    return regions, block[482] != 0, number(block[483:495], "real size", offset)


def gnu_sparse_more(block: bytes, offset: int) -> tuple[list[tuple[int, int]], bool]:
    """The regions in a continuation block, and whether another follows."""
    return _regions(block[:504], offset), block[504] != 0


def _regions(fields: bytes, offset: int) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(fields), 24):
        if not fields[at]:
            break
        found.append(
            (
                number(fields[at : at + 12], "sparse offset", offset),
                number(fields[at + 12 : at + 24], "sparse length", offset),
            )
        )
    return found
