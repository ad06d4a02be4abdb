"""The messages of one Content.Write stream, applied to a writer (content.proto, WriteAction).

The wire's messages are handled here and not in service.py because they are a small state machine of their own.
"""

from __future__ import annotations

from typing import Any

from pycontainerd.api.convert import timestamp
from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.contracts.content import ContentStore, ContentWriter
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, InvalidArgument, OutOfRange


class WriteStream:
    """Feed it requests in order; each gives the response. Blocks, so call it off the event loop."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._writer: ContentWriter | None = None
        self._ref = ""
        self._total = 0
        self._expected = ""

    def handle(self, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        writer = self._writer or self._open(request)
        self._settle(request)
        if request.action == pb.STAT:
            return self._response(writer, pb.STAT)
        if request.data or request.action == pb.WRITE:
            self._write(writer, request)
        if request.action == pb.COMMIT:
            return self._commit(writer, request)
        if request.action != pb.WRITE:
            raise InvalidArgument(f"unknown write action {request.action}")
        return self._response(writer, pb.WRITE)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, request: pb.WriteContentRequest) -> ContentWriter:
        if not request.ref:
            raise InvalidArgument("first message must have a reference")
        self._ref = request.ref
        self._writer = self._store.writer(request.ref, total=request.total, expected=request.expected)
        return self._writer

    def _settle(self, request: pb.WriteContentRequest) -> None:
        """What one message fixed, a later one may repeat but not change."""
        if request.ref and request.ref != self._ref:
            raise InvalidArgument(f"ref changed from {self._ref!r} to {request.ref!r} within one write")
        if request.total:
            if self._total and request.total != self._total:
                raise FailedPrecondition(f"total changed from {self._total} to {request.total} within one write")
            self._total = request.total
        if request.expected:
            if self._expected and request.expected != self._expected:
                raise FailedPrecondition(f"expected digest changed from {self._expected} to {request.expected}")
            self._expected = request.expected

    def _write(self, writer: ContentWriter, request: pb.WriteContentRequest) -> None:
        offset = writer.status().offset
        if request.data and request.offset != offset:
            if request.offset != 0 or request.action == pb.COMMIT:
                raise OutOfRange(f"ingest {self._ref} stands at {offset} bytes, the write is for {request.offset}")
            writer.truncate(0)
            offset = 0
        if self._total and offset + len(request.data) > self._total:
            raise OutOfRange(
                f"ingest {self._ref} would get {offset + len(request.data)} bytes, {self._total} were said"
            )
        if request.data:
            writer.write(request.data)

    def _commit(self, writer: ContentWriter, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        size = writer.status().offset
        if self._total and self._total != size:
            raise FailedPrecondition(f"ingest {self._ref} has {size} bytes, {self._total} were promised")
        response = self._response(writer, pb.COMMIT)
        try:
            info = writer.commit(self._total, self._expected, dict(request.labels))
        except AlreadyExists:
            self.close()
            raise
        self.close()
        response.digest = info.digest
        return response

    @staticmethod
    def _response(writer: ContentWriter, action: Any) -> pb.WriteContentResponse:
        status = writer.status()
        return pb.WriteContentResponse(
            action=action,
            started_at=timestamp(status.started_at),
            updated_at=timestamp(status.updated_at),
            offset=status.offset,
            total=status.total,
            digest=writer.digest() if action != pb.STAT else "",
        )
