"""Container records: what a container is, whether or not it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

import attrs

from .types import EMPTY, AnyValue, Scope


@attrs.frozen
class Container:
    """A container's metadata (containers.proto)."""

    id: str
    labels: Mapping[str, str] = EMPTY
    image: str = ""
    runtime: str = ""
    runtime_options: AnyValue | None = None
    spec: AnyValue | None = None
    snapshotter: str = ""
    snapshot_key: str = ""
    extensions: Mapping[str, AnyValue] = MappingProxyType({})
    sandbox: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ContainerStore(Protocol):
    """Thread-safe and synchronous; publishes container events."""

    def get(self, id: str) -> Container: ...  # noqa: A002 - the field's name

    def list(self, filters: Sequence[str] = ()) -> Iterable[Container]: ...

    def create(self, container: Container) -> Container: ...

    def update(self, container: Container, fieldpaths: Sequence[str] = ()) -> Container: ...

    def delete(self, id: str) -> None: ...  # noqa: A002


class ContainerService(Protocol):
    """``io.containerd.service.v1.containers-service``."""

    def scoped(self, scope: Scope) -> ContainerStore: ...
