"""The messages of one Content.Write stream, applied to a writer (content.proto, WriteAction).

The wire's messages are handled here and not in service.py because they are a small state machine of their own.
"""

from __future__ import annotations

from typing import Any

from pycontainerd.api.convert import timestamp
from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.contracts.content import ContentStore, ContentWriter
from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument, NotFound, OutOfRange


class WriteStream:
    """Feed it requests in order; each gives the response. Blocks, so call it off the event loop."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._writer: ContentWriter | None = None
        self._ref = ""
        self._total = 0
        self._expected = ""

    def handle(self, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        first = self._writer is None
        writer = self._writer or self._open(request)
        # What a later message says of the size and digest is what counts: they may be known only at the end.
        self._total = request.total or self._total
        if request.expected and not first:
            self._refuse_known(request.expected)
        self._expected = request.expected or self._expected
        if request.action == pb.STAT:
            return self._response(writer, pb.STAT)
        if request.action not in (pb.WRITE, pb.COMMIT):
            raise InvalidArgument(f"unknown write action {request.action}")
        self._write(writer, request)
        return self._commit(writer, request) if request.action == pb.COMMIT else self._response(writer, pb.WRITE)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, request: pb.WriteContentRequest) -> ContentWriter:
        if not request.ref:
            raise InvalidArgument("first message must have a reference")
        if request.total < 0:
            raise InvalidArgument(f"ingest {request.ref}: the total size {request.total} is negative")
        self._ref = request.ref
        self._writer = self._store.writer(request.ref, total=request.total, expected=request.expected)
        return self._writer

    def _refuse_known(self, digest: str) -> None:
        """There is no need to write what the namespace has; the ingest goes."""
        try:
            self._store.info(digest)
        except NotFound:
            return
        self.close()
        self._store.abort(self._ref)
        raise AlreadyExists(f"blob with expected digest {digest} exists")

    def _write(self, writer: ContentWriter, request: pb.WriteContentRequest) -> None:
        offset = writer.status().offset
        if request.offset > 0 and request.offset != offset:
            raise OutOfRange(f"write @{request.offset} of ingest {self._ref} must occur at current offset {offset}")
        if request.offset == 0 and offset > 0:
            writer.truncate(0)  # clients start over by writing (or committing) at 0
        if request.data:
            writer.write(request.data)

    def _commit(self, writer: ContentWriter, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        response = self._response(writer, pb.COMMIT)
        try:
            info = writer.commit(self._total, self._expected, dict(request.labels))
        finally:
            self.close()
        response.digest = info.digest
        return response

    def _response(self, writer: ContentWriter, action: Any) -> pb.WriteContentResponse:
        status = writer.status()
        return pb.WriteContentResponse(
            action=action,
            started_at=timestamp(status.started_at),
            updated_at=timestamp(status.updated_at),
            offset=status.offset,
            total=self._total or status.total,
            digest=writer.digest(),
        )
