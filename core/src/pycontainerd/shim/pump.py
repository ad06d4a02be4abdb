"""Moving bytes between two descriptors on the event loop."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from . import loop

_CHUNK = 16 << 10  # what is copied through memory at once; more goes by splice, which takes none
_SPLICE = 1 << 20
_ROUNDS = 16  # before others get their turn


class Pump:
    """Moves what can be read at ``source`` to ``sink`` until it ends, then closes both.

    ``source`` is non-blocking. A sink that is full is waited for and ``source`` not read meanwhile; one that is broken
    swallows everything from then on: a process must not suffer from what reads it.
    """

    def __init__(self, source: int, sink: int, *, splice: bool = False) -> None:
        self._loop = loop.current()
        self._source = source
        self._sink = sink
        self._splice = splice
        self._rest = b""
        self._waiting = False
        self._broken = False
        self.moved = 0
        self.ended = loop.Future()
        self._loop.watch(source, loop.READ, self._readable)

    def _readable(self) -> None:
        try:
            for _ in range(_ROUNDS):
                if not self._move():
                    self.close()
                    return
                if self._rest:
                    self._wait()
                    return
        except BlockingIOError:
            return
        except OSError:  # EIO: the other end of a terminal is closed
            self.close()

    def _move(self) -> bool:
        """Move something; False at the end."""
        if self._splice and not self._broken and self._available() >= _CHUNK:
            return self._by_splice()
        data = os.read(self._source, _CHUNK)
        self.moved += len(data)
        if data:
            self._rest = self._write(data)
        return bool(data)

    def _available(self) -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(self._source, termios.FIONREAD, b"\0\0\0\0"))
        return int(count)

    def _by_splice(self) -> bool:
        try:
            count = os.splice(self._source, self._sink, _SPLICE, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            self._wait()
            raise
        except OSError:  # not for this kind of sink
            self._splice = False
            return True
        self.moved += count
        return count > 0

    def _write(self, data: bytes) -> bytes:
        """Write; what the sink had no room for."""
        if self._broken:
            return b""
        try:
            return data[os.write(self._sink, data) :]
        except BlockingIOError:
            return data
        except OSError:
            self._broken = True
            return b""

    def _wait(self) -> None:
        """Until the sink takes something again."""
        if not self._waiting:
            self._waiting = True
            self._loop.unwatch(self._source)
            self._loop.watch(self._sink, loop.WRITE, self._writable)

    def _writable(self) -> None:
        self._rest = self._write(self._rest) if self._rest else b""
        if not self._rest:
            self._loop.unwatch(self._sink)
            self._waiting = False
            self._loop.watch(self._source, loop.READ, self._readable)

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way: nothing to read, nothing left to write."""
        return self.ended.done or (not self._rest and self._available() == 0)

    def close(self) -> None:
        """Stop; closes both ends."""
        if self.ended.done:
            return
        self._loop.unwatch(self._source)
        if self._waiting:
            self._loop.unwatch(self._sink)
        for fd in {self._source, self._sink}:
            try:
                os.close(fd)
            except OSError:
                continue
        self._rest = b""
        self.ended.settle()
