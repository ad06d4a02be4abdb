"""Where the frames of a zstd stream end (RFC 8878, section 3.1), found without decompressing. Pure."""

from __future__ import annotations

from collections.abc import Generator

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_SKIPPABLE_MASK = 0xFFFFFFF0
_RLE = 1
_CONTENT_SIZE = (0, 2, 4, 8)
_DICTIONARY = (0, 1, 2, 4)


class Frames:
    """Feed it the stream; ``whole`` tells whether what came so far ends with a frame (and there was one).

    It does not judge: in a stream that is corrupt, and that the decompressor refuses, its answer means nothing.
    """

    def __init__(self) -> None:
        self._walk = self._frames()
        self._skip = 0  # bytes still to pass over
        self._want = 0  # bytes the walk waits for
        self._held = b""
        self._between = True
        self._seen = False
        self._next(b"")

    @property
    def whole(self) -> bool:
        return self._seen and self._between and not self._held and not self._skip

    def feed(self, data: bytes) -> None:
        at = 0
        while True:
            if self._skip:
                passed = min(self._skip, len(data) - at)
                self._skip -= passed
                at += passed
            if at == len(data) and (self._skip or len(self._held) < self._want):
                return
            missing = self._want - len(self._held)
            self._held += data[at : at + missing]
            at = min(at + missing, len(data))
            if len(self._held) < self._want:
                return
            taken, self._held = self._held, b""
            self._next(taken)

    def _next(self, data: bytes) -> None:
        self._skip, self._want = self._walk.send(data) if data else next(self._walk)

    def _frames(self) -> Generator[tuple[int, int], bytes, None]:
        """Yields (bytes to pass over, bytes wanted after them)."""
        skip = 0
        while True:
            self._between = True
            magic = int.from_bytes((yield skip, 4), "little")
            self._between, self._seen = False, True
            if magic & _SKIPPABLE_MASK == _SKIPPABLE:
                skip = int.from_bytes((yield 0, 4), "little")
                continue
            if magic != _MAGIC:
                while True:
                    yield 1 << 62, 1
            (descriptor,) = yield 0, 1
            single = descriptor >> 5 & 1
            header = _CONTENT_SIZE[descriptor >> 6] or single
            skip = header + _DICTIONARY[descriptor & 3] + (not single)
            last = False
            while not last:
                block = int.from_bytes((yield skip, 3), "little")
                last = bool(block & 1)
                skip = 1 if block >> 1 & 3 == _RLE else block >> 3
            skip += 4 * (descriptor >> 2 & 1)
