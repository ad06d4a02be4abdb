"""The content store: reading, writing, and ingests under way."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from pycontainerd.api.convert import moment
from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.contracts.content import ContentInfo, IngestStatus
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, DataLoss, ResourceExhausted
from pycontainerd.contracts.types import EMPTY

from .connection import Duplex
from .service import Service

CHUNK = 1 << 20  # bytes in a message; well below what servers take


class Ingest:
    """The writer of one ingest. ``offset`` is where the next byte goes (not 0 where it was resumed)."""

    def __init__(self, call: Duplex, ref: str, offset: int) -> None:
        self._call = call
        self.ref = ref
        self.offset = offset

    async def write(self, data: bytes) -> None:
        """Append ``data``."""
        view = memoryview(data)
        while view:
            part = view[:CHUNK]
            found = await self._ask(pb.WriteContentRequest(action=pb.WRITE, offset=self.offset, data=bytes(part)))
            if found.offset != self.offset + len(part):
                raise DataLoss(f"ingest {self.ref}: wrote {len(part)} bytes at {self.offset}, now at {found.offset}")
            self.offset = found.offset
            view = view[len(part) :]

    async def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> str:
        """Make the ingest a blob; returns its digest. A blob that is there already is as good.

        :raises FailedPrecondition: the size (when not 0) or digest (when not empty) is not what was written.
        """
        request = pb.WriteContentRequest(
            action=pb.COMMIT, offset=self.offset, total=size, expected=expected, labels=labels
        )
        try:
            found = await self._ask(request)
        except AlreadyExists:
            if not expected:
                raise
            return expected
        return found.digest

    async def _ask(self, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        with contextlib.suppress(ContainerdError):  # why the call has ended is in its status, read below
            await self._call.send(request)
        found: pb.WriteContentResponse | None = await self._call.receive()
        if found is None:
            raise DataLoss(f"ingest {self.ref}: the server ended the call")
        return found


class Content(Service):
    """The blobs and ingests of one namespace."""

    SERVICE = "containerd.services.content.v1.Content"

    async def info(self, digest: str) -> ContentInfo:
        found: pb.InfoResponse = await self._stub.unary("Info", pb.InfoRequest(digest=digest))
        return _info(found.info)

    async def update(self, digest: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> ContentInfo:
        """Replace labels, or with ``fieldpaths`` (``labels.KEY``) only those; an empty value deletes."""
        request = pb.UpdateRequest(info=pb.Info(digest=digest, labels=labels))
        if fieldpaths:
            request.update_mask.CopyFrom(FieldMask(paths=fieldpaths))
        found: pb.UpdateResponse = await self._stub.unary("Update", request)
        return _info(found.info)

    async def walk(self, filters: Sequence[str] = ()) -> AsyncIterator[ContentInfo]:
        async for response in self._stub.stream("List", pb.ListContentRequest(filters=filters)):
            for item in response.info:
                yield _info(item)

    async def delete(self, digest: str) -> None:
        await self._stub.unary("Delete", pb.DeleteContentRequest(digest=digest))

    async def read(self, digest: str, offset: int = 0, size: int = 0) -> AsyncIterator[bytes]:
        """The bytes of a blob from ``offset``, ``size`` of them (0: all)."""
        request = pb.ReadContentRequest(digest=digest, offset=offset, size=size)
        async for response in self._stub.stream("Read", request):
            yield response.data

    async def read_all(self, digest: str, limit: int = 8 << 20) -> bytes:
        """A small blob whole.

        :raises ResourceExhausted: it has more than ``limit`` bytes.
        """
        data = bytearray()
        async with contextlib.aclosing(self.read(digest)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                data += chunk
                if len(data) > limit:
                    raise ResourceExhausted(f"content {digest}: larger than the {limit} bytes it may have here")
        return bytes(data)

    @contextlib.asynccontextmanager
    async def writer(self, ref: str, *, total: int = 0, expected: str = "") -> AsyncIterator[Ingest]:
        """Start or resume the ingest ``ref``.

        :raises AlreadyExists: ``expected`` is given and that blob is there already.
        :raises Unavailable: another writer holds the ref.
        """
        call = self._stub.duplex("Write")
        try:
            ingest = Ingest(call, ref, 0)
            request = pb.WriteContentRequest(action=pb.STAT, ref=ref, total=total, expected=expected)
            ingest.offset = (await ingest._ask(request)).offset  # noqa: SLF001 - the two are one
            yield ingest
        finally:
            call.cancel()

    async def write(
        self,
        ref: str,
        source: bytes | AsyncIterable[bytes],
        *,
        total: int = 0,
        expected: str = "",
        labels: Mapping[str, str] = EMPTY,
    ) -> str:
        """Write a blob from its start and return its digest; what an earlier try under ``ref`` left is not written again.

        :raises FailedPrecondition: size or digest are not ``total`` and ``expected``.
        """
        try:
            async with self.writer(ref, total=total, expected=expected) as ingest:
                skip = ingest.offset
                async for chunk in _chunks(source):
                    taken = min(skip, len(chunk))
                    skip -= taken
                    if taken < len(chunk):
                        await ingest.write(chunk[taken:])
                return await ingest.commit(total, expected, labels)
        except AlreadyExists:
            if not expected:
                raise
        if labels:
            await self.update(expected, labels, [f"labels.{key}" for key in labels])
        return expected

    async def status(self, ref: str) -> IngestStatus:
        found: pb.StatusResponse = await self._stub.unary("Status", pb.StatusRequest(ref=ref))
        return _status(found.status)

    async def statuses(self, filters: Sequence[str] = ()) -> list[IngestStatus]:
        found: pb.ListStatusesResponse = await self._stub.unary("ListStatuses", pb.ListStatusesRequest(filters=filters))
        return [_status(item) for item in found.statuses]

    async def abort(self, ref: str) -> None:
        await self._stub.unary("Abort", pb.AbortRequest(ref=ref))


async def _chunks(source: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    async for chunk in source:
        yield chunk


def _info(value: pb.Info) -> ContentInfo:
    return ContentInfo(value.digest, value.size, moment(value.created_at), moment(value.updated_at), dict(value.labels))


def _status(value: pb.Status) -> IngestStatus:
    return IngestStatus(
        value.ref, value.offset, value.total, value.expected, moment(value.started_at), moment(value.updated_at)
    )
