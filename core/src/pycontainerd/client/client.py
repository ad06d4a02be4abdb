"""The client: one connection, and a view of it for a namespace and a lease.

The part for a service is imported when it is first used: a command line tool uses two or three of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pycontainerd.contracts.types import EMPTY, now

from .connection import Connection, Stub, headers

if TYPE_CHECKING:
    from .containers import Containers
    from .content import Content
    from .control import Control
    from .diff import Diff
    from .events import Events
    from .gc import GarbageCollection
    from .images import Images
    from .introspection import Introspection
    from .leases import Leases
    from .namespaces import Namespaces
    from .snapshots import Snapshots
    from .streaming import Streaming
    from .tasks import Tasks
    from .transfer import Transfer

DEFAULT_ADDRESS = "/run/containerd/containerd.sock"


class Client:
    """Everything a containerd serves, in one namespace. Closing it closes the connection that its views share."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        namespace: str = "default",
        lease: str = "",
        connection: Connection | None = None,
    ) -> None:
        self.connection = connection or Connection(address)
        self.namespace = namespace
        self.lease_id = lease

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self.connection.close()

    def in_namespace(self, namespace: str) -> Client:
        """A view of the same connection in another namespace."""
        return Client(namespace=namespace, connection=self.connection)

    def under(self, lease: str) -> Client:
        """A view whose creations are held by ``lease``."""
        return Client(namespace=self.namespace, lease=lease, connection=self.connection)

    @contextlib.asynccontextmanager
    async def lease(
        self, expires: timedelta = timedelta(hours=24), labels: Mapping[str, str] = EMPTY
    ) -> AsyncIterator[Client]:
        """A view under a new lease that is deleted at the end; where one is held already, a view under that."""
        if self.lease_id:
            yield self
            return
        from .leases import EXPIRE

        until = (now() + expires).strftime("%Y-%m-%dT%H:%M:%SZ")
        lease = await self.leases.create(labels={**labels, EXPIRE: until})
        try:
            yield self.under(lease.id)
        finally:
            await self.leases.delete(lease.id)

    def stub(self, service: str) -> Stub:
        """Raw calls to the service of that full protobuf name."""
        return Stub(self.connection, service, headers(self.namespace, self.lease_id))

    @cached_property
    def introspection(self) -> Introspection:
        from .introspection import Introspection

        return Introspection(self.stub)

    @cached_property
    def control(self) -> Control:
        from .control import Control

        return Control(self.stub)

    @cached_property
    def namespaces(self) -> Namespaces:
        from .namespaces import Namespaces

        return Namespaces(self.stub)

    @cached_property
    def containers(self) -> Containers:
        from .containers import Containers

        return Containers(self.stub)

    @cached_property
    def content(self) -> Content:
        from .content import Content

        return Content(self.stub)

    @cached_property
    def gc(self) -> GarbageCollection:
        from .gc import GarbageCollection

        return GarbageCollection(self.stub)

    @cached_property
    def images(self) -> Images:
        from .images import Images

        return Images(self.stub)

    @cached_property
    def leases(self) -> Leases:
        from .leases import Leases

        return Leases(self.stub)

    @cached_property
    def diff(self) -> Diff:
        from .diff import Diff

        return Diff(self.stub)

    @cached_property
    def events(self) -> Events:
        from .events import Events

        return Events(self.stub)

    @cached_property
    def tasks(self) -> Tasks:
        from .tasks import Tasks

        return Tasks(self.stub)

    @cached_property
    def streaming(self) -> Streaming:
        from .streaming import Streaming

        return Streaming(self.stub)

    @cached_property
    def transfer(self) -> Transfer:
        from .transfer import Transfer

        return Transfer(self.stub, self.streaming)

    def snapshots(self, snapshotter: str = "") -> Snapshots:
        """One snapshotter; "" is the server's default (overlayfs where it does not say)."""
        from .snapshots import Snapshots

        return Snapshots(self.stub, snapshotter)
