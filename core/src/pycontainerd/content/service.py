"""containerd.services.content.v1.Content."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.convert import timestamp
from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.api.wire import piece
from pycontainerd.contracts.content import ContentInfo, ContentService, IngestStatus
from pycontainerd.contracts.errors import OutOfRange
from pycontainerd.contracts.service import Call

from .service_write import WriteStream

CHUNK = 1 << 20  # bytes in one message of Read
LIST_BATCH = 100
_OFFSET, _DATA = pb.ReadContentResponse.OFFSET_FIELD_NUMBER, pb.ReadContentResponse.DATA_FIELD_NUMBER


class ContentRpc:
    """The gRPC edge of `ContentService`."""

    SERVICE = "containerd.services.content.v1.Content"

    def __init__(self, content: ContentService) -> None:
        self._content = content

    def Info(self, request: pb.InfoRequest, call: Call) -> pb.InfoResponse:
        return pb.InfoResponse(info=_info(self._content.scoped(call.scope).info(request.digest)))

    def Update(self, request: pb.UpdateRequest, call: Call) -> pb.UpdateResponse:
        info = self._content.scoped(call.scope).update(
            request.info.digest, dict(request.info.labels), list(request.update_mask.paths)
        )
        return pb.UpdateResponse(info=_info(info))

    def List(self, request: pb.ListContentRequest, call: Call) -> Iterator[pb.ListContentResponse]:
        batch: list[pb.Info] = []
        for info in self._content.scoped(call.scope).walk(list(request.filters)):
            batch.append(_info(info))
            if len(batch) == LIST_BATCH:
                yield pb.ListContentResponse(info=batch)
                batch = []
        if batch:
            yield pb.ListContentResponse(info=batch)

    def Delete(self, request: pb.DeleteContentRequest, call: Call) -> Empty:
        self._content.scoped(call.scope).delete(request.digest)
        return Empty()

    def Read(self, request: pb.ReadContentRequest, call: Call) -> Iterator[bytes]:
        reader = self._content.scoped(call.scope).open(request.digest)
        try:
            offset = max(request.offset, 0)
            if offset > reader.size:
                raise OutOfRange(f"cannot read {request.digest} at {offset}: it has {reader.size} bytes")
            end = min(offset + request.size, reader.size) if request.size > 0 else reader.size
            while offset < end:
                data = reader.read_at(offset, min(CHUNK, end - offset))
                yield piece(_OFFSET, offset, _DATA, data)
                offset += len(data)
        finally:
            reader.close()

    def Status(self, request: pb.StatusRequest, call: Call) -> pb.StatusResponse:
        return pb.StatusResponse(status=_status(self._content.scoped(call.scope).status(request.ref)))

    def ListStatuses(self, request: pb.ListStatusesRequest, call: Call) -> pb.ListStatusesResponse:
        statuses = self._content.scoped(call.scope).statuses(list(request.filters))
        return pb.ListStatusesResponse(statuses=[_status(status) for status in statuses])

    async def Write(
        self, requests: AsyncIterator[pb.WriteContentRequest], call: Call
    ) -> AsyncIterator[pb.WriteContentResponse]:
        """One ingest, driven by the client; whatever ends the stream closes the writer and keeps the ingest."""
        stream = WriteStream(self._content.scoped(call.scope))
        try:
            async for request in requests:
                yield await asyncio.to_thread(stream.handle, request)
        finally:
            await asyncio.to_thread(stream.close)

    def Abort(self, request: pb.AbortRequest, call: Call) -> Empty:
        self._content.scoped(call.scope).abort(request.ref)
        return Empty()


def _info(info: ContentInfo) -> pb.Info:
    return pb.Info(
        digest=info.digest,
        size=info.size,
        created_at=timestamp(info.created_at),
        updated_at=timestamp(info.updated_at),
        labels=info.labels,
    )


def _status(status: IngestStatus) -> pb.Status:
    return pb.Status(
        ref=status.ref,
        offset=status.offset,
        total=status.total,
        expected=status.expected,
        started_at=timestamp(status.started_at),
        updated_at=timestamp(status.updated_at),
    )
