"""containerd.services.namespaces.v1.Namespaces."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.services.namespaces.v1 import namespace_pb2 as pb
from pycontainerd.contracts.namespaces import NamespaceService
from pycontainerd.contracts.service import Call


class NamespacesRpc:
    """The gRPC edge of `NamespaceService`."""

    SERVICE = "containerd.services.namespaces.v1.Namespaces"

    def __init__(self, namespaces: NamespaceService) -> None:
        self._namespaces = namespaces

    def Get(self, request: pb.GetNamespaceRequest, call: Call) -> pb.GetNamespaceResponse:
        return pb.GetNamespaceResponse(
            namespace=pb.Namespace(name=request.name, labels=self._namespaces.labels(request.name))
        )

    def List(self, request: pb.ListNamespacesRequest, call: Call) -> pb.ListNamespacesResponse:
        names = self._namespaces.list()
        return pb.ListNamespacesResponse(
            namespaces=[pb.Namespace(name=name, labels=self._namespaces.labels(name)) for name in names]
        )

    def Create(self, request: pb.CreateNamespaceRequest, call: Call) -> pb.CreateNamespaceResponse:
        self._namespaces.create(request.namespace.name, dict(request.namespace.labels))
        return pb.CreateNamespaceResponse(namespace=request.namespace)

    def Update(self, request: pb.UpdateNamespaceRequest, call: Call) -> pb.UpdateNamespaceResponse:
        labels = self._namespaces.set_labels(
            request.namespace.name, dict(request.namespace.labels), list(request.update_mask.paths)
        )
        return pb.UpdateNamespaceResponse(namespace=pb.Namespace(name=request.namespace.name, labels=labels))

    def Delete(self, request: pb.DeleteNamespaceRequest, call: Call) -> Empty:
        self._namespaces.delete(request.name)
        return Empty()
