"""Namespaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from pycontainerd.api.services.namespaces.v1 import namespace_pb2 as pb
from pycontainerd.contracts.types import EMPTY

from .service import Service


class Namespaces(Service):
    """The namespaces of the server; labels by name."""

    SERVICE = "containerd.services.namespaces.v1.Namespaces"

    async def list(self) -> dict[str, dict[str, str]]:
        """Every namespace with its labels."""
        found: pb.ListNamespacesResponse = await self._stub.unary("List", pb.ListNamespacesRequest())
        return {item.name: dict(item.labels) for item in found.namespaces}

    async def labels(self, name: str) -> dict[str, str]:
        found: pb.GetNamespaceResponse = await self._stub.unary("Get", pb.GetNamespaceRequest(name=name))
        return dict(found.namespace.labels)

    async def create(self, name: str, labels: Mapping[str, str] = EMPTY) -> None:
        await self._stub.unary("Create", pb.CreateNamespaceRequest(namespace=pb.Namespace(name=name, labels=labels)))

    async def set_labels(self, name: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> dict[str, str]:
        """Replace labels, or with ``fieldpaths`` (``labels.KEY``) only those; an empty value deletes."""
        request = pb.UpdateNamespaceRequest(namespace=pb.Namespace(name=name, labels=labels))
        if fieldpaths:
            request.update_mask.CopyFrom(FieldMask(paths=fieldpaths))
        found: pb.UpdateNamespaceResponse = await self._stub.unary("Update", request)
        return dict(found.namespace.labels)

    async def delete(self, name: str) -> None:
        await self._stub.unary("Delete", pb.DeleteNamespaceRequest(name=name))
