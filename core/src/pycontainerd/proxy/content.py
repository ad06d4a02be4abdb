"""A content store behind a socket: `contracts.content.ContentStore` over containerd.services.content.v1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from pycontainerd.api.convert import moment
from pycontainerd.api.services.content.v1 import content_pb2 as pb
from pycontainerd.contracts.content import ContentInfo, IngestStatus
from pycontainerd.contracts.errors import DataLoss, Internal, InvalidArgument, NotImplemented
from pycontainerd.contracts.types import EMPTY, Scope

from .link import Duplex, Link

SERVICE = "containerd.services.content.v1.Content"
DEADLINES: Mapping[str, float] = {"Write": 120, "Delete": 120, "List": 120}  # seconds; a commit syncs the blob to disk
CHUNK = 1 << 20  # bytes in a message: the least that servers take is 4 MiB


class ProxyContentStore:
    """See `contracts.content.ContentStore`."""

    def __init__(self, link: Link, scope: Scope | None = None) -> None:
        self._link = link
        self._scope = scope

    def in_scope(self, scope: Scope) -> ProxyContentStore:
        """The same, with calls in the name of ``scope``; where the config names a namespace, that stays."""
        return self if self._scope is not None else ProxyContentStore(self._link, scope)

    def info(self, digest: str) -> ContentInfo:
        response: pb.InfoResponse = self._link.unary(SERVICE, "Info", pb.InfoRequest(digest=digest), self._scope)
        return self._info(response.info)

    def update(self, digest: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> ContentInfo:
        mask = FieldMask(paths=fieldpaths) if fieldpaths else None
        request = pb.UpdateRequest(info=pb.Info(digest=digest, labels=labels), update_mask=mask)
        response: pb.UpdateResponse = self._link.unary(SERVICE, "Update", request, self._scope)
        return self._info(response.info)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[ContentInfo]:
        request = pb.ListContentRequest(filters=filters)
        # All of it before the first is given out: what the caller does meanwhile is not the other side's time.
        responses: list[pb.ListContentResponse] = list(self._link.stream(SERVICE, "List", request, self._scope))
        for response in responses:
            yield from map(self._info, response.info)

    def delete(self, digest: str) -> None:
        self._link.unary(SERVICE, "Delete", pb.DeleteContentRequest(digest=digest), self._scope)

    def open(self, digest: str) -> ProxyReader:
        return ProxyReader(self._link, digest, self.info(digest).size, self._scope)

    def writer(self, ref: str, *, total: int = 0, expected: str = "") -> ProxyWriter:
        writer = ProxyWriter(self._link.duplex(SERVICE, "Write", self._scope), self._link.plugin, ref)
        writer.begin(total, expected)
        return writer

    def status(self, ref: str) -> IngestStatus:
        response: pb.StatusResponse = self._link.unary(SERVICE, "Status", pb.StatusRequest(ref=ref), self._scope)
        return self._status(response.status)

    def statuses(self, filters: Sequence[str] = ()) -> Sequence[IngestStatus]:
        request = pb.ListStatusesRequest(filters=filters)
        response: pb.ListStatusesResponse = self._link.unary(SERVICE, "ListStatuses", request, self._scope)
        return [self._status(status) for status in response.statuses]

    def abort(self, ref: str) -> None:
        self._link.unary(SERVICE, "Abort", pb.AbortRequest(ref=ref), self._scope)

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def _info(self, value: pb.Info) -> ContentInfo:
        try:
            created, updated = moment(value.created_at), moment(value.updated_at)
        except InvalidArgument as exc:
            raise Internal(f"{self._link.plugin} tells of content {value.digest} what cannot be: {exc}") from exc
        return ContentInfo(value.digest, value.size, created, updated, dict(value.labels))

    def _status(self, value: pb.Status) -> IngestStatus:
        try:
            started, updated = moment(value.started_at), moment(value.updated_at)
        except InvalidArgument as exc:
            raise Internal(f"{self._link.plugin} tells of ingest {value.ref} what cannot be: {exc}") from exc
        return IngestStatus(value.ref, value.offset, value.total, value.expected, started, updated)


class ProxyReader:
    """See `contracts.content.ContentReader`; each read is a call of its own."""

    def __init__(self, link: Link, digest: str, size: int, scope: Scope | None) -> None:
        self._link = link
        self._digest = digest
        self._size = size
        self._scope = scope

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """See `contracts.content.ContentReader.read_at`."""
        wanted = min(length, self._size - offset)
        if wanted <= 0:
            return b""
        request = pb.ReadContentRequest(digest=self._digest, offset=offset, size=wanted)
        data = bytearray()
        response: pb.ReadContentResponse
        for response in self._link.stream(SERVICE, "Read", request, self._scope):
            data += response.data
            if len(data) > wanted:
                raise Internal(f"{self._link.plugin}: more bytes of {self._digest} than were asked for at {offset}")
        if len(data) < wanted:
            raise DataLoss(
                f"{self._link.plugin}: {self._digest} has {self._size} bytes, but at {offset} only {len(data)} of"
                f" {wanted} were given"
            )
        return bytes(data)

    def fileno(self) -> int:
        """There is no file on this side."""
        raise NotImplemented(f"{self._digest} is in another process: {self._link.plugin}")

    def close(self) -> None:
        """Nothing is held between reads."""


class ProxyWriter:
    """See `contracts.content.ContentWriter`."""

    def __init__(self, call: Duplex, plugin: str, ref: str) -> None:
        self._call = call
        self._plugin = plugin
        self._ref = ref
        self._offset = 0
        self._digest = ""

    def begin(self, total: int, expected: str) -> None:
        """Start or resume the ingest; errors as for `contracts.content.ContentStore.writer`."""
        self._ask(pb.WriteContentRequest(action=pb.STAT, ref=self._ref, total=total, expected=expected))

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        while view:
            part, view = view[:CHUNK], view[CHUNK:]
            end = self._offset + len(part)
            self._ask(pb.WriteContentRequest(action=pb.WRITE, offset=self._offset, data=bytes(part)))
            if self._offset != end:
                raise DataLoss(f"{self._plugin}: ingest {self._ref} should be at {end} now, not at {self._offset}")
        return self._offset

    def truncate(self, size: int = 0) -> None:
        if size:
            raise InvalidArgument(f"cannot truncate ingest {self._ref} to {size} bytes: only 0 is possible")
        if self._offset:
            self._ask(pb.WriteContentRequest(action=pb.WRITE, offset=0))  # a write at the start begins anew
            self._digest = ""

    def digest(self) -> str:
        if not self._digest:
            self.status()
        return self._digest

    def status(self) -> IngestStatus:
        response = self._ask(pb.WriteContentRequest(action=pb.STAT))
        started, updated = moment(response.started_at), moment(response.updated_at)
        return IngestStatus(self._ref, response.offset, response.total, "", started, updated)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] = EMPTY) -> ContentInfo:
        request = pb.WriteContentRequest(
            action=pb.COMMIT, offset=self._offset, total=size, expected=expected, labels=labels
        )
        try:
            response = self._ask(request)
        finally:
            self.close()
        if (size and response.offset != size) or (expected and response.digest != expected):
            raise DataLoss(
                f"{self._plugin}: ingest {self._ref} was committed as {response.digest} with {response.offset} bytes,"
                f" not as {expected or 'any digest'} with {size or 'any'} bytes"
            )
        started, updated = moment(response.started_at), moment(response.updated_at)
        return ContentInfo(response.digest, response.offset, started, updated, dict(labels))

    def close(self) -> None:
        self._call.close()

    def _ask(self, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
        response: pb.WriteContentResponse = self._call.ask(request)
        self._offset = response.offset
        self._digest = response.digest or self._digest
        return response
