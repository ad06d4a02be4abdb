"""The image store: names for content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from .types import EMPTY, Descriptor, Scope


@attrs.frozen
class Image:
    """A name for a target descriptor (index or manifest)."""

    name: str
    target: Descriptor
    labels: Mapping[str, str] = EMPTY
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ImageStore(Protocol):
    """Thread-safe and synchronous; publishes image events (``/images/create`` …) for what it changes."""

    def get(self, name: str) -> Image: ...

    def list(self, filters: Sequence[str] = ()) -> Iterable[Image]: ...

    def create(self, image: Image) -> Image:
        """:raises AlreadyExists: the name is taken."""
        ...

    def update(self, image: Image, fieldpaths: Sequence[str] = ()) -> Image:
        """``fieldpaths``: ``target``, ``labels``, ``labels.KEY``, ``annotations.KEY``; none means replace."""
        ...

    def delete(self, name: str, target: Descriptor | None = None) -> None:
        """With ``target``, only while the image still has that target (else `NotFound`)."""
        ...


class ImageService(Protocol):
    """``io.containerd.service.v1.images-service``."""

    def scoped(self, scope: Scope) -> ImageStore: ...
