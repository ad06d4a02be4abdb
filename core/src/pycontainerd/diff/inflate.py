"""Compressed layers to plain bytes, chunk by chunk. The work is done by native code outside the GIL.

However little compressed input makes however much output, no chunk is larger than `CHUNK`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pycontainerd.contracts.errors import DataLoss
from pycontainerd.contracts.media_types import DETECT

from .zstd_frames import Frames

CHUNK = 1 << 19
MAX_WINDOW = 1 << 27  # bytes a zstd stream may make us allocate; what zstd --long and registries use
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_HEAD = 512


def detect(head: bytes) -> str | None:
    """The compression of a stream that starts with ``head``; "" for a tar, None when it looks like nothing known."""
    for name, magic in (("gzip", _GZIP_MAGIC), ("zstd", _ZSTD_MAGIC), ("lz4", _LZ4_MAGIC)):
        if head.startswith(magic):
            return name
    # A zstd stream may begin with a skippable frame (zstd:chunked and seekable formats do so).
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"
    return "" if head[257:262] == b"ustar" or (head and not any(head)) else None


def inflate(compression: str, source: Iterable[bytes]) -> Iterator[bytes]:
    """The plain bytes of ``source``. A stream compressed otherwise than its media type says is read as what it is.

    :raises DataLoss: it is corrupt, ends too early, or has something else after its end.
    """
    chunks = iter(source)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD:
            break
    found = detect(head) if compression else ""
    if found is None:
        found = "" if compression == DETECT else compression
    return _DECODERS[found](_chain(head, chunks))


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _gzip(source: Iterator[bytes]) -> Iterator[bytes]:
    from isal import igzip_lib

    def new() -> Any:
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)

    errors = (igzip_lib.error, EOFError, ValueError)
    return _members("gzip", new, errors, source, _GZIP_MAGIC)  # type: ignore[arg-type]  # the stubs call it an instance


def _lz4(source: Iterator[bytes]) -> Iterator[bytes]:
    import lz4.frame

    return _members("lz4", lz4.frame.LZ4FrameDecompressor, (RuntimeError, EOFError), source, _LZ4_MAGIC)


def _members(
    name: str, new: Callable[[], Any], errors: tuple[type[Exception], ...], source: Iterator[bytes], magic: bytes
) -> Iterator[bytes]:
    """Streams of several members one after another (what ``cat a.gz b.gz`` makes). Zeros after the last are padding."""
    decoder: Any = None
    finished = False  # a member
    read = 0
    rest = b""
    for chunk in source:
        read += len(chunk)
        data = rest + chunk
        rest = b""
        while True:
            if decoder is None:
                data = data.lstrip(b"\0") if finished else data
                if len(data) < len(magic):
                    rest = data
                    break
                if not data.startswith(magic):
                    where = "follows its end" if finished else "is there"
                    raise DataLoss(f"{name} stream: something else {where}, at compressed byte {read - len(data)}")
                decoder = new()
            try:
                plain = decoder.decompress(data, CHUNK)
            except errors as exc:
                raise DataLoss(f"{name} stream is corrupt near compressed byte {read}: {exc}") from exc
            if plain:
                yield plain
            if decoder.eof:
                data, decoder, finished = decoder.unused_data or b"", None, True
            elif decoder.needs_input:
                break
            else:
                data = b""
    if decoder is not None or not finished:
        raise DataLoss(f"{name} stream ends too early, after {read} compressed bytes")
    if rest:
        raise DataLoss(f"{name} stream: something else follows its end, at compressed byte {read - len(rest)}")


class _Source:
    """The file that the zstd reader reads from; follows the frames, because the reader takes any end for a good one."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._frames = Frames()
        self.position = 0

    def read(self, size: int) -> memoryview:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return memoryview(b"")
            self._frames.feed(chunk)
            self._rest = memoryview(chunk)
        taken, self._rest = self._rest[:size], self._rest[size:]
        self.position += len(taken)
        return taken

    @property
    def whole(self) -> bool:
        return self._frames.whole


def _zstd(source: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    compressed = _Source(source)
    context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    reader = context.stream_reader(compressed, read_size=CHUNK, read_across_frames=True)  # type: ignore[arg-type]
    while True:
        try:
            plain = reader.read(CHUNK)
        except zstandard.ZstdError as exc:
            raise DataLoss(f"zstd stream is corrupt near compressed byte {compressed.position}: {exc}") from exc
        if not plain:
            break
        yield plain
    if not compressed.whole:
        raise DataLoss(f"zstd stream ends too early, after {compressed.position} compressed bytes")


def _plain(source: Iterator[bytes]) -> Iterator[bytes]:
    return source


_DECODERS: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    "": _plain,
    "gzip": _gzip,
    "zstd": _zstd,
    "lz4": _lz4,
}
