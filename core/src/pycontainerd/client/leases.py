"""Leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pycontainerd.api.convert import moment
from pycontainerd.api.services.leases.v1 import leases_pb2 as pb
from pycontainerd.contracts.leases import Lease, Resource
from pycontainerd.contracts.types import EMPTY

from .service import Service

EXPIRE = "containerd.io/gc.expire"


class Leases(Service):
    """The leases of one namespace."""

    SERVICE = "containerd.services.leases.v1.Leases"

    async def create(self, id: str = "", labels: Mapping[str, str] = EMPTY) -> Lease:  # noqa: A002
        """An empty id asks for a generated one (made here: not every server makes one)."""
        request = pb.CreateRequest(id=id or _generate(), labels=labels)
        found: pb.CreateResponse = await self._stub.unary("Create", request)
        return _record(found.lease)

    async def list(self, filters: Sequence[str] = ()) -> list[Lease]:
        found: pb.ListResponse = await self._stub.unary("List", pb.ListRequest(filters=filters))
        return [_record(item) for item in found.leases]

    async def delete(self, id: str, *, sync: bool = False) -> None:  # noqa: A002
        await self._stub.unary("Delete", pb.DeleteRequest(id=id, sync=sync))

    async def add_resource(self, id: str, resource: Resource) -> None:  # noqa: A002
        request = pb.AddResourceRequest(id=id, resource=pb.Resource(id=resource.id, type=resource.type))
        await self._stub.unary("AddResource", request)

    async def delete_resource(self, id: str, resource: Resource) -> None:  # noqa: A002
        request = pb.DeleteResourceRequest(id=id, resource=pb.Resource(id=resource.id, type=resource.type))
        await self._stub.unary("DeleteResource", request)

    async def resources(self, id: str) -> Sequence[Resource]:  # noqa: A002
        found: pb.ListResourcesResponse = await self._stub.unary("ListResources", pb.ListResourcesRequest(id=id))
        return [Resource(item.type, item.id) for item in found.resources]


def _record(value: pb.Lease) -> Lease:
    return Lease(value.id, moment(value.created_at), dict(value.labels))


def _generate() -> str:
    import secrets
    import time

    return f"{time.time_ns() % 1_000_000_000}-{secrets.token_hex(4)}"
