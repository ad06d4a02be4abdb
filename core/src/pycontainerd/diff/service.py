"""containerd.services.diff.v1.Diff."""

from __future__ import annotations

from pycontainerd.api.convert import descriptor_message, descriptor_record, moment, mount_records
from pycontainerd.api.services.diff.v1 import diff_pb2 as pb
from pycontainerd.contracts.content import ContentService
from pycontainerd.contracts.diff import DiffService
from pycontainerd.contracts.service import Call


class DiffRpc:
    """The gRPC edge of `DiffService`."""

    SERVICE = "containerd.services.diff.v1.Diff"

    def __init__(self, diff: DiffService, content: ContentService) -> None:
        self._diff = diff
        self._content = content

    def Apply(self, request: pb.ApplyRequest, call: Call) -> pb.ApplyResponse:
        applied = self._diff.apply(
            self._content.scoped(call.scope),
            descriptor_record(request.diff),
            mount_records(request.mounts),
            sync=request.sync_fs,
        )
        return pb.ApplyResponse(applied=descriptor_message(applied))

    def Diff(self, request: pb.DiffRequest, call: Call) -> pb.DiffResponse:
        made = self._diff.compare(
            self._content.scoped(call.scope),
            mount_records(request.left),
            mount_records(request.right),
            media_type=request.media_type,
            ref=request.ref,
            labels=dict(request.labels),
            epoch=moment(request.source_date_epoch) if request.HasField("source_date_epoch") else None,
        )
        return pb.DiffResponse(diff=descriptor_message(made))
