"""Container records."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from pycontainerd.api.anys import to_any, to_record
from pycontainerd.api.convert import moment
from pycontainerd.api.services.containers.v1 import containers_pb2 as pb
from pycontainerd.contracts.containers import Container

from .service import Service


def to_message(value: Container) -> pb.Container:
    """A record as the wire has it; times are the server's."""
    message = pb.Container(
        id=value.id,
        labels=value.labels,
        image=value.image,
        runtime=pb.Container.Runtime(name=value.runtime, options=to_any(value.runtime_options)),
        spec=to_any(value.spec),
        snapshotter=value.snapshotter,
        snapshot_key=value.snapshot_key,
        sandbox=value.sandbox,
    )
    for key, extension in value.extensions.items():
        message.extensions[key].type_url, message.extensions[key].value = extension.type_url, extension.value
    return message


def from_message(value: pb.Container) -> Container:
    """The record of a message."""
    return Container(
        id=value.id,
        labels=dict(value.labels),
        image=value.image,
        runtime=value.runtime.name,
        runtime_options=to_record(value.runtime.options),
        spec=to_record(value.spec),
        snapshotter=value.snapshotter,
        snapshot_key=value.snapshot_key,
        extensions={key: record for key, item in value.extensions.items() if (record := to_record(item))},
        sandbox=value.sandbox,
        created_at=moment(value.created_at) if value.HasField("created_at") else None,
        updated_at=moment(value.updated_at) if value.HasField("updated_at") else None,
    )


class Containers(Service):
    """The containers of one namespace: their records, running or not."""

    SERVICE = "containerd.services.containers.v1.Containers"

    async def get(self, id: str) -> Container:  # noqa: A002 - the field's name
        found: pb.GetContainerResponse = await self._stub.unary("Get", pb.GetContainerRequest(id=id))
        return from_message(found.container)

    async def list(self, filters: Sequence[str] = ()) -> list[Container]:
        found: pb.ListContainersResponse = await self._stub.unary("List", pb.ListContainersRequest(filters=filters))
        return [from_message(item) for item in found.containers]

    async def create(self, container: Container) -> Container:
        found: pb.CreateContainerResponse = await self._stub.unary(
            "Create", pb.CreateContainerRequest(container=to_message(container))
        )
        return from_message(found.container)

    async def update(self, container: Container, fieldpaths: Sequence[str] = ()) -> Container:
        """Replace what may change, or only ``fieldpaths`` (``labels.KEY``, ``spec``, …)."""
        request = pb.UpdateContainerRequest(container=to_message(container))
        if fieldpaths:
            request.update_mask.CopyFrom(FieldMask(paths=fieldpaths))
        found: pb.UpdateContainerResponse = await self._stub.unary("Update", request)
        return from_message(found.container)

    async def delete(self, id: str) -> None:  # noqa: A002
        await self._stub.unary("Delete", pb.DeleteContainerRequest(id=id))
