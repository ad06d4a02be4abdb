"""containerd.services.snapshots.v1.Snapshots."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.convert import mount_messages, timestamp
from pycontainerd.api.services.snapshots.v1 import snapshots_pb2 as pb
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, SnapshotService

LIST_BATCH = 100
_KINDS = {Kind.UNKNOWN: pb.UNKNOWN, Kind.VIEW: pb.VIEW, Kind.ACTIVE: pb.ACTIVE, Kind.COMMITTED: pb.COMMITTED}


class SnapshotsRpc:
    """The gRPC edge of `SnapshotService`."""

    SERVICE = "containerd.services.snapshots.v1.Snapshots"

    def __init__(self, snapshots: SnapshotService) -> None:
        self._snapshots = snapshots

    def Prepare(self, request: pb.PrepareSnapshotRequest, call: Call) -> pb.PrepareSnapshotResponse:
        snapshotter = self._snapshots.scoped(call.scope, request.snapshotter)
        mounts = snapshotter.prepare(request.key, request.parent, dict(request.labels))
        return pb.PrepareSnapshotResponse(mounts=mount_messages(mounts))

    def View(self, request: pb.ViewSnapshotRequest, call: Call) -> pb.ViewSnapshotResponse:
        snapshotter = self._snapshots.scoped(call.scope, request.snapshotter)
        mounts = snapshotter.view(request.key, request.parent, dict(request.labels))
        return pb.ViewSnapshotResponse(mounts=mount_messages(mounts))

    def Mounts(self, request: pb.MountsRequest, call: Call) -> pb.MountsResponse:
        mounts = self._snapshots.scoped(call.scope, request.snapshotter).mounts(request.key)
        return pb.MountsResponse(mounts=mount_messages(mounts))

    def Commit(self, request: pb.CommitSnapshotRequest, call: Call) -> Empty:
        self._snapshots.scoped(call.scope, request.snapshotter).commit(
            request.name, request.key, dict(request.labels), parent=request.parent
        )
        return Empty()

    def Remove(self, request: pb.RemoveSnapshotRequest, call: Call) -> Empty:
        self._snapshots.scoped(call.scope, request.snapshotter).remove(request.key)
        return Empty()

    def Stat(self, request: pb.StatSnapshotRequest, call: Call) -> pb.StatSnapshotResponse:
        return pb.StatSnapshotResponse(
            info=_info(self._snapshots.scoped(call.scope, request.snapshotter).stat(request.key))
        )

    def Update(self, request: pb.UpdateSnapshotRequest, call: Call) -> pb.UpdateSnapshotResponse:
        info = self._snapshots.scoped(call.scope, request.snapshotter).update(
            request.info.name, dict(request.info.labels), list(request.update_mask.paths)
        )
        return pb.UpdateSnapshotResponse(info=_info(info))

    def List(self, request: pb.ListSnapshotsRequest, call: Call) -> Iterator[pb.ListSnapshotsResponse]:
        batch: list[pb.Info] = []
        for info in self._snapshots.scoped(call.scope, request.snapshotter).walk(list(request.filters)):
            batch.append(_info(info))
            if len(batch) == LIST_BATCH:
                yield pb.ListSnapshotsResponse(info=batch)
                batch = []
        if batch:
            yield pb.ListSnapshotsResponse(info=batch)

    def Usage(self, request: pb.UsageRequest, call: Call) -> pb.UsageResponse:
        usage = self._snapshots.scoped(call.scope, request.snapshotter).usage(request.key)
        return pb.UsageResponse(size=usage.size, inodes=usage.inodes)

    def Cleanup(self, request: pb.CleanupRequest, call: Call) -> Empty:
        self._snapshots.scoped(call.scope, request.snapshotter).cleanup()
        return Empty()


def _info(info: SnapshotInfo) -> pb.Info:
    return pb.Info(
        name=info.name,
        parent=info.parent,
        kind=_KINDS[info.kind],
        created_at=timestamp(info.created_at),
        updated_at=timestamp(info.updated_at),
        labels=info.labels,
    )
