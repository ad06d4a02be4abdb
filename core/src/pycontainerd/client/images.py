"""Image records: names for content."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from pycontainerd.api.convert import descriptor_message, descriptor_record, moment
from pycontainerd.api.services.images.v1 import images_pb2 as pb
from pycontainerd.contracts.images import Image

from .service import Service


def to_message(value: Image) -> pb.Image:
    """A record as the wire has it; times are the server's."""
    return pb.Image(name=value.name, labels=value.labels, target=descriptor_message(value.target))


def from_message(value: pb.Image) -> Image:
    """The record of a message."""
    return Image(
        name=value.name,
        target=descriptor_record(value.target),
        labels=dict(value.labels),
        created_at=moment(value.created_at) if value.HasField("created_at") else None,
        updated_at=moment(value.updated_at) if value.HasField("updated_at") else None,
    )


class Images(Service):
    """The images of one namespace. Names are taken as they are: ``docker.io/library/…`` is never added."""

    SERVICE = "containerd.services.images.v1.Images"

    async def get(self, name: str) -> Image:
        found: pb.GetImageResponse = await self._stub.unary("Get", pb.GetImageRequest(name=name))
        return from_message(found.image)

    async def list(self, filters: Sequence[str] = ()) -> list[Image]:
        found: pb.ListImagesResponse = await self._stub.unary("List", pb.ListImagesRequest(filters=filters))
        return [from_message(item) for item in found.images]

    async def create(self, image: Image) -> Image:
        found: pb.CreateImageResponse = await self._stub.unary("Create", pb.CreateImageRequest(image=to_message(image)))
        return from_message(found.image)

    async def update(self, image: Image, fieldpaths: Sequence[str] = ()) -> Image:
        """Replace target and labels, or only ``fieldpaths`` (``target``, ``labels``, ``labels.KEY``)."""
        request = pb.UpdateImageRequest(image=to_message(image))
        if fieldpaths:
            request.update_mask.CopyFrom(FieldMask(paths=fieldpaths))
        found: pb.UpdateImageResponse = await self._stub.unary("Update", request)
        return from_message(found.image)

    async def delete(self, name: str, *, sync: bool = False) -> None:
        """Delete the name; with ``sync`` also wait until what it alone held is collected."""
        await self._stub.unary("Delete", pb.DeleteImageRequest(name=name, sync=sync))
