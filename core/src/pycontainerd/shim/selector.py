"""A selector on epoll with only what an event loop needs: the standard one touches several times the memory."""

from __future__ import annotations

import math
import select
import selectors
from collections.abc import Mapping
from typing import Any

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


class PlainSelector(selectors.BaseSelector):
    """See `selectors.EpollSelector`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}

    @staticmethod
    def _number(fileobj: Any) -> int:
        return fileobj if type(fileobj) is int else int(fileobj.fileno())

    @staticmethod
    def _mask(events: int) -> int:
        return (select.EPOLLIN if events & _READ else 0) | (select.EPOLLOUT if events & _WRITE else 0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = self._number(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fd} is registered already")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._epoll.register(fd, self._mask(events))
        self._keys[fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        fd = self._number(fileobj)
        key = self._keys.pop(fd)
        try:
            self._epoll.unregister(fd)
        except OSError:
            pass  # closed before it was unregistered
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = self._number(fileobj)
        old = self._keys[fd]
        if old.events != events:
            self._epoll.modify(fd, self._mask(events))
        key = selectors.SelectorKey(old.fileobj, fd, events, data)
        self._keys[fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Whole milliseconds, rounded up: rounded down it would spin at the end of a pause.
        wait = -1.0 if timeout is None else max(0.0, math.ceil(timeout * 1e3) * 1e-3)
        found = []
        try:
            ready = self._epoll.poll(wait, max(len(self._keys), 1))
        except InterruptedError:
            return []
        for fd, event in ready:
            key = self._keys.get(fd)
            if key is not None:
                events = (_WRITE if event & ~select.EPOLLIN else 0) | (_READ if event & ~select.EPOLLOUT else 0)
                found.append((key, events & key.events))
        return found

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[self._number(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()
