"""containerd.services.leases.v1.Leases."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.convert import timestamp
from pycontainerd.api.services.leases.v1 import leases_pb2 as pb
from pycontainerd.contracts.gc import GarbageCollector
from pycontainerd.contracts.leases import Lease, LeaseService, Resource
from pycontainerd.contracts.service import Call


class LeasesRpc:
    """The gRPC edge of `LeaseService`."""

    SERVICE = "containerd.services.leases.v1.Leases"

    def __init__(self, leases: LeaseService, collectors: Mapping[str, GarbageCollector]) -> None:
        self._leases = leases
        self._collectors = collectors

    def Create(self, request: pb.CreateRequest, call: Call) -> pb.CreateResponse:
        lease = self._leases.scoped(call.namespace).create(request.id, dict(request.labels))
        return pb.CreateResponse(lease=_message(lease))

    def Delete(self, request: pb.DeleteRequest, call: Call) -> Empty:
        self._leases.scoped(call.namespace).delete(request.id)
        if request.sync:  # where nothing collects, there is nothing to wait for
            for collector in self._collectors.values():
                collector.collect()
        return Empty()

    def List(self, request: pb.ListRequest, call: Call) -> pb.ListResponse:
        leases = self._leases.scoped(call.namespace).list(list(request.filters))
        return pb.ListResponse(leases=[_message(lease) for lease in leases])

    def AddResource(self, request: pb.AddResourceRequest, call: Call) -> Empty:
        self._leases.scoped(call.namespace).add_resource(
            request.id, Resource(request.resource.type, request.resource.id)
        )
        return Empty()

    def DeleteResource(self, request: pb.DeleteResourceRequest, call: Call) -> Empty:
        self._leases.scoped(call.namespace).delete_resource(
            request.id, Resource(request.resource.type, request.resource.id)
        )
        return Empty()

    def ListResources(self, request: pb.ListResourcesRequest, call: Call) -> pb.ListResourcesResponse:
        found = self._leases.scoped(call.namespace).resources(request.id)
        return pb.ListResourcesResponse(resources=[pb.Resource(id=one.id, type=one.type) for one in found])


def _message(lease: Lease) -> pb.Lease:
    return pb.Lease(id=lease.id, created_at=timestamp(lease.created_at), labels=lease.labels)
