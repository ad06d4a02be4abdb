"""Inflating a layer, whatever it is compressed with. The inflating itself runs outside the GIL."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pycontainerd.contracts.errors import DataLoss

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
LZ4 = b"\x04\x22\x4d\x18"
_ZSTD_WINDOW = 1 << 27  # bytes; the most a frame may ask for


def inflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The inflated content of ``chunks``, by their magic number; what has none is passed on as it is.

    :raises DataLoss: the compressed stream is corrupt or ends too early; says at which offset.
    """
    source = iter(chunks)
    head = next(source, b"")
    while 0 < len(head) < 4:
        more = next(source, b"")
        if not more:
            break
        head += more
    for magic, method in ((GZIP, _gzip), (ZSTD, _zstd), (LZ4, _lz4)):
        if head.startswith(magic):
            return method(_Counted(head, source))
    return _plain(head, source)


class _Counted:
    """The chunks, and how many bytes have been taken."""

    def __init__(self, head: bytes, rest: Iterator[bytes]) -> None:
        self._head = head
        self._rest = rest
        self.offset = 0

    def __iter__(self) -> Iterator[bytes]:
        self.offset = len(self._head)
        yield self._head
        for chunk in self._rest:
            self.offset += len(chunk)
            yield chunk


def _plain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _gzip(source: _Counted) -> Iterator[bytes]:
    from isal import isal_zlib

    return _members(source, "gzip", lambda: isal_zlib.decompressobj(wbits=31), (zlib.error,), GZIP)


def _zstd(source: _Counted) -> Iterator[bytes]:
    import zstandard

    make = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj
    return _members(source, "zstd", make, (zstandard.ZstdError,), ZSTD)


def _lz4(source: _Counted) -> Iterator[bytes]:
    import lz4.frame

    return _members(source, "lz4", lz4.frame.LZ4FrameDecompressor, (RuntimeError, EOFError), LZ4)


def _members(
    source: _Counted, name: str, make: Callable[[], Any], errors: tuple[type[Exception], ...], magic: bytes
) -> Iterator[bytes]:
    """A stream of one or more members (frames). Zeros behind the last one are padding."""
    state = make()
    fresh = True
    for chunk in source:
        data = chunk
        while data:
            try:
                out = state.decompress(data)
            except errors as exc:
                raise DataLoss(f"the {name} stream is corrupt near offset {source.offset}: {exc}") from exc
            fresh = False
            if out:
                yield out
            if not state.eof:
                break
            data = (state.unused_data or b"").lstrip(b"\0")
            state = make()
            fresh = True
            if data and not magic.startswith(data[: len(magic)]):
                raise DataLoss(
                    f"there is something that is not {name} behind the {name} stream, near offset {source.offset}"
                )
    if not fresh:
        raise DataLoss(f"the {name} stream ends too early, after {source.offset} bytes")
