"""Unpacking an image's layers into snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from .types import Descriptor, Platform, Scope


@attrs.frozen
class LayerProgress:
    """One layer's way: ``state`` is ``waiting``, ``extracting``, ``exists`` or ``done``."""

    layer: Descriptor
    state: str


class Unpacker(Protocol):
    """``io.containerd.unpack.v1.unpacker``. Synchronous."""

    def unpack(
        self,
        scope: Scope,
        target: Descriptor,
        *,
        snapshotter: str = "",
        platform: Platform | None = None,
        progress: Callable[[LayerProgress], None] | None = None,
        wait: Callable[[Descriptor], None] | None = None,
    ) -> str:
        """Unpack the manifest that ``target`` (index or manifest) has for ``platform`` (default: the machine's).

        Layers become committed snapshots named by chainID. The config blob gets the label
        ``containerd.io/gc.ref.snapshot.<snapshotter>`` with the last chainID, which is returned. An image without
        layers unpacks to "". ``wait(layer)`` is called before a layer is read, and returns when it may be: so that
        unpacking can begin while later layers are still on their way.

        :raises NotFound: no manifest for the platform, or content is missing.
        """
        ...
