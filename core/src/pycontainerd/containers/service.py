"""containerd.services.containers.v1.Containers."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.anys import put, to_record
from pycontainerd.api.convert import stamp
from pycontainerd.api.services.containers.v1 import containers_pb2 as pb
from pycontainerd.api.wire import repeated
from pycontainerd.contracts.containers import Container, ContainerService
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue

from .known import Known, size


class ContainersRpc:
    """The gRPC edge of `ContainerService`."""

    SERVICE = "containerd.services.containers.v1.Containers"

    def __init__(self, containers: ContainerService) -> None:
        self._containers = containers
        self._known: Known[int, tuple[Container, bytes]] = Known()  # by the record's identity: it has no cheaper hash

    def Get(self, request: pb.GetContainerRequest, call: Call) -> pb.GetContainerResponse:
        return pb.GetContainerResponse(container=_message(self._containers.scoped(call.scope).get(request.id)))

    def List(self, request: pb.ListContainersRequest, call: Call) -> bytes:
        found = self._containers.scoped(call.scope).list(list(request.filters))
        return repeated(pb.ListContainersResponse.CONTAINERS_FIELD_NUMBER, map(self._encoded, found))

    def _encoded(self, one: Container) -> bytes:
        known = self._known.get(id(one))
        if known is not None and known[0] is one:
            return known[1]
        data: bytes = _message(one).SerializeToString()
        self._known.add(id(one), (one, data), size(one))
        return data

    def ListStream(self, request: pb.ListContainersRequest, call: Call) -> Iterator[pb.ListContainerMessage]:
        for one in self._containers.scoped(call.scope).list(list(request.filters)):
            yield pb.ListContainerMessage(container=_message(one))

    def Create(self, request: pb.CreateContainerRequest, call: Call) -> pb.CreateContainerResponse:
        made = self._containers.scoped(call.scope).create(_record(request.container))
        return pb.CreateContainerResponse(container=_message(made))

    def Update(self, request: pb.UpdateContainerRequest, call: Call) -> pb.UpdateContainerResponse:
        changed = self._containers.scoped(call.scope).update(
            _record(request.container), list(request.update_mask.paths)
        )
        return pb.UpdateContainerResponse(container=_message(changed))

    def Delete(self, request: pb.DeleteContainerRequest, call: Call) -> Empty:
        self._containers.scoped(call.scope).delete(request.id)
        return Empty()


def _message(one: Container) -> pb.Container:
    message = pb.Container(
        id=one.id,
        labels=one.labels,
        image=one.image,
        snapshotter=one.snapshotter,
        snapshot_key=one.snapshot_key,
        sandbox=one.sandbox,
    )
    message.runtime.name = one.runtime
    put(message.spec, one.spec)
    if one.runtime_options is not None:
        put(message.runtime.options, one.runtime_options)
    stamp(message.created_at, one.created_at)
    stamp(message.updated_at, one.updated_at)
    for key, value in one.extensions.items():
        message.extensions[key].type_url = value.type_url
        message.extensions[key].value = value.value
    return message


def _record(message: pb.Container) -> Container:
    return Container(
        id=message.id,
        labels=dict(message.labels),
        image=message.image,
        runtime=message.runtime.name,
        runtime_options=to_record(message.runtime.options),
        spec=to_record(message.spec),
        snapshotter=message.snapshotter,
        snapshot_key=message.snapshot_key,
        extensions={key: AnyValue(value.type_url, value.value) for key, value in message.extensions.items()},
        sandbox=message.sandbox,
    )
