"""containerd.services.images.v1.Images."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.convert import descriptor_message, descriptor_record, timestamp
from pycontainerd.api.services.images.v1 import images_pb2 as pb
from pycontainerd.contracts.gc import GarbageCollector
from pycontainerd.contracts.images import Image, ImageService
from pycontainerd.contracts.service import Call


class ImagesRpc:
    """The gRPC edge of `ImageService`."""

    SERVICE = "containerd.services.images.v1.Images"

    def __init__(self, images: ImageService, collectors: Mapping[str, GarbageCollector]) -> None:
        self._images = images
        self._collectors = collectors

    def Get(self, request: pb.GetImageRequest, call: Call) -> pb.GetImageResponse:
        return pb.GetImageResponse(image=_message(self._images.scoped(call.scope).get(request.name)))

    def List(self, request: pb.ListImagesRequest, call: Call) -> pb.ListImagesResponse:
        images = self._images.scoped(call.scope).list(list(request.filters))
        return pb.ListImagesResponse(images=[_message(image) for image in images])

    def Create(self, request: pb.CreateImageRequest, call: Call) -> pb.CreateImageResponse:
        return pb.CreateImageResponse(image=_message(self._images.scoped(call.scope).create(_record(request.image))))

    def Update(self, request: pb.UpdateImageRequest, call: Call) -> pb.UpdateImageResponse:
        image = self._images.scoped(call.scope).update(_record(request.image), list(request.update_mask.paths))
        return pb.UpdateImageResponse(image=_message(image))

    def Delete(self, request: pb.DeleteImageRequest, call: Call) -> Empty:
        target = descriptor_record(request.target) if request.HasField("target") else None
        self._images.scoped(call.scope).delete(request.name, target)
        if request.sync:  # where nothing collects, there is nothing to wait for
            for collector in self._collectors.values():
                collector.collect()
        return Empty()


def _message(image: Image) -> pb.Image:
    return pb.Image(
        name=image.name,
        labels=image.labels,
        target=descriptor_message(image.target),
        created_at=timestamp(image.created_at),
        updated_at=timestamp(image.updated_at),
    )


def _record(message: pb.Image) -> Image:
    return Image(message.name, descriptor_record(message.target), dict(message.labels))
