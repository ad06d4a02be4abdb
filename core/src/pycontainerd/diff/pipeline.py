"""A layer's way from the content store to the applier: one thread reads, inflates and hashes, another applies.

Reading, inflating and hashing release the GIL, so the two really run side by side.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator

from pycontainerd.contracts import digests
from pycontainerd.contracts.content import ContentReader
from pycontainerd.contracts.errors import DataLoss

from .inflate import inflate
from .limits import Limits

CHUNK = 1 << 20  # bytes read from the store at a time
DEPTH = 8  # inflated chunks that may wait


class Pipeline:
    """Iterate it to the end for the inflated chunks; then ``digest`` and ``size`` are those of the uncompressed layer.

    :raises DataLoss: (by the iteration) the layer is corrupt, or its bytes have not the digest ``expected``.
    :raises ResourceExhausted: it inflates to more than the limit.
    """

    def __init__(self, reader: ContentReader, compression: str, expected: str, limits: Limits) -> None:
        self._reader = reader
        self._compression = compression
        self._expected = expected
        self._limits = limits
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(DEPTH)
        self._stop = threading.Event()
        self._compressed = digests.hasher(expected)
        # A layer that is not compressed is its own diffID, if that is in the usual algorithm.
        self._plain = compression == "" and self._compressed.name == "sha256"
        self._hash = self._compressed if self._plain else digests.hasher()
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
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.05)
        self._thread.join()

    def _produce(self) -> None:
        try:
            for chunk in inflate(self._compression, self._read()):
                self.size += len(chunk)
                if self.size > self._limits.max_inflated:
                    raise self._limits.exceeded("max_inflated", self.size, "inflated bytes")
                if not self._plain:
                    self._hash.update(chunk)
                self._queue.put(chunk)
                if self._stop.is_set():
                    return
            found = digests.text(self._compressed)
            if found != self._expected:
                raise DataLoss(f"the stored bytes have the digest {found}", hint="fetch the blob again")
            self._queue.put(None)
        except BaseException as exc:
            self._queue.put(exc)

    def _read(self) -> Iterator[bytes]:
        offset = 0
        while data := self._reader.read_at(offset, CHUNK):
            offset += len(data)
            self._compressed.update(data)
            yield data
