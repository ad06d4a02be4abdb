"""Namespaces isolate everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .types import EMPTY


class NamespaceService(Protocol):
    """``io.containerd.service.v1.namespaces-service``. Thread-safe and synchronous."""

    def labels(self, name: str) -> Mapping[str, str]:
        """The labels; none where there is no such namespace, for a namespace need not be created to be used."""
        ...

    def list(self) -> Sequence[str]: ...

    def create(self, name: str, labels: Mapping[str, str] = EMPTY) -> None: ...

    def set_labels(self, name: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> Mapping[str, str]: ...

    def delete(self, name: str) -> None:
        """:raises FailedPrecondition: something is still in it; the message lists what."""
        ...
