"""A layer's way from the content store to the applier: one thread reads, inflates and hashes, another applies.

Reading, inflating and hashing release the GIL, so the two really run side by side.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from pycontainerd.contracts import digests
from pycontainerd.contracts.content import ContentReader

from .decompress import inflate

CHUNK = 1 << 20  # bytes read from the store at a time
DEPTH = 8  # inflated chunks that may wait


class Pipeline:
    """Iterate it for the inflated chunks; afterwards ``digest`` and ``size`` are those of the uncompressed layer."""

    def __init__(self, reader: ContentReader) -> None:
        self._reader = reader
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(DEPTH)
        self._stop = threading.Event()
        self._hash = digests.hasher()
        self.size = 0
        self._thread = threading.Thread(target=self._produce, name="inflate", daemon=True)
        self._thread.start()

    @property
    def digest(self) -> str:
        return digests.text(self._hash)

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop reading; waits for the thread."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def _produce(self) -> None:
        try:
            for chunk in inflate(self._read()):
                self._hash.update(chunk)
                self.size += len(chunk)
                self._queue.put(chunk)
                if self._stop.is_set():
                    return
            self._queue.put(None)
        except BaseException as exc:
            self._queue.put(exc)

    def _read(self) -> Iterator[bytes]:
        offset = 0
        while data := self._reader.read_at(offset, CHUNK):
            offset += len(data)
            yield data
