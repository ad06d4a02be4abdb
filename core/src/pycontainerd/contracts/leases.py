"""Leases protect resources from collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from .types import EMPTY


@attrs.frozen
class Lease:
    """``labels`` may carry ``containerd.io/gc.expire`` (RFC 3339)."""

    id: str
    created_at: datetime
    labels: Mapping[str, str] = EMPTY


@attrs.frozen
class Resource:
    """``type`` is ``content``, ``ingests``, ``images`` or ``snapshots/NAME``."""

    type: str
    id: str


class LeaseManager(Protocol):
    """The leases of one namespace."""

    def create(self, id: str = "", labels: Mapping[str, str] = EMPTY) -> Lease:  # noqa: A002
        """An empty id asks for a generated one."""
        ...

    def delete(self, id: str) -> None: ...  # noqa: A002

    def list(self, filters: Sequence[str] = ()) -> Iterable[Lease]: ...

    def add_resource(self, id: str, resource: Resource) -> None: ...  # noqa: A002

    def delete_resource(self, id: str, resource: Resource) -> None: ...  # noqa: A002

    def resources(self, id: str) -> Sequence[Resource]: ...  # noqa: A002


class LeaseService(Protocol):
    """``io.containerd.lease.v1.manager``."""

    def scoped(self, namespace: str) -> LeaseManager: ...
