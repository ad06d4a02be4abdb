"""What of a pull has arrived, for those who work on it while the rest is on its way."""

from __future__ import annotations

import asyncio
import threading

from pycontainerd.contracts import media_types
from pycontainerd.contracts.errors import Aborted
from pycontainerd.contracts.types import Descriptor

from .contents import is_document


class Arrivals:
    """Filled on the event loop; `wait` is for worker threads."""

    def __init__(self) -> None:
        self.described = asyncio.Event()
        """Set when all manifests, indexes and configs are there."""
        self._changed = threading.Condition()
        self._present: set[str] = set()
        self._ended = False
        self._failed = False
        self._descriptions = 1

    def expect(self, children: list[Descriptor]) -> None:
        """These are on their way; call it before their parent is `arrived`."""
        self._descriptions += sum(map(_describes, children))

    def arrived(self, target: Descriptor) -> None:
        with self._changed:
            self._present.add(target.digest)
            self._changed.notify_all()
        self._descriptions -= _describes(target)
        if not self._descriptions:
            self.described.set()

    def end(self, *, failed: bool) -> None:
        """Nothing more comes. May be called again."""
        with self._changed:
            self._ended, self._failed = True, self._failed or failed
            self._changed.notify_all()

    def wait(self, target: Descriptor) -> None:
        """Until ``target`` is there, or known not to come.

        :raises Aborted: the pull failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or target.digest in self._present)
            if self._failed:
                raise Aborted(f"{target.digest} does not come: the pull failed")


def _describes(target: Descriptor) -> bool:
    return is_document(target) or media_types.is_config(target.media_type)
