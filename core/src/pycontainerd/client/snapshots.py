"""Snapshots of one snapshotter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from pycontainerd.api.convert import moment, mount_records
from pycontainerd.api.services.snapshots.v1 import snapshots_pb2 as pb
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, Usage
from pycontainerd.contracts.types import EMPTY, Mount

from .service import MakeStub, Service

DEFAULT = "overlayfs"


class Snapshots(Service):
    """The snapshots of one snapshotter in one namespace; see `contracts.snapshots.Snapshotter` for the operations."""

    SERVICE = "containerd.services.snapshots.v1.Snapshots"

    def __init__(self, make: MakeStub, snapshotter: str = "") -> None:
        super().__init__(make)
        self.name = snapshotter or DEFAULT

    async def stat(self, key: str) -> SnapshotInfo:
        found: pb.StatSnapshotResponse = await self._stub.unary(
            "Stat", pb.StatSnapshotRequest(snapshotter=self.name, key=key)
        )
        return _info(found.info)

    async def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        request = pb.UpdateSnapshotRequest(snapshotter=self.name, info=pb.Info(name=key, labels=labels))
        if fieldpaths:
            request.update_mask.CopyFrom(FieldMask(paths=fieldpaths))
        found: pb.UpdateSnapshotResponse = await self._stub.unary("Update", request)
        return _info(found.info)

    async def usage(self, key: str) -> Usage:
        found: pb.UsageResponse = await self._stub.unary("Usage", pb.UsageRequest(snapshotter=self.name, key=key))
        return Usage(found.size, found.inodes)

    async def mounts(self, key: str) -> list[Mount]:
        found: pb.MountsResponse = await self._stub.unary("Mounts", pb.MountsRequest(snapshotter=self.name, key=key))
        return mount_records(found.mounts)

    async def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> list[Mount]:
        request = pb.PrepareSnapshotRequest(snapshotter=self.name, key=key, parent=parent, labels=labels)
        found: pb.PrepareSnapshotResponse = await self._stub.unary("Prepare", request)
        return mount_records(found.mounts)

    async def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> list[Mount]:
        request = pb.ViewSnapshotRequest(snapshotter=self.name, key=key, parent=parent, labels=labels)
        found: pb.ViewSnapshotResponse = await self._stub.unary("View", request)
        return mount_records(found.mounts)

    async def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY) -> None:
        request = pb.CommitSnapshotRequest(snapshotter=self.name, name=name, key=key, labels=labels)
        await self._stub.unary("Commit", request)

    async def remove(self, key: str) -> None:
        await self._stub.unary("Remove", pb.RemoveSnapshotRequest(snapshotter=self.name, key=key))

    async def walk(self, filters: Sequence[str] = ()) -> AsyncIterator[SnapshotInfo]:
        request = pb.ListSnapshotsRequest(snapshotter=self.name, filters=filters)
        async for response in self._stub.stream("List", request):
            for item in response.info:
                yield _info(item)

    async def cleanup(self) -> None:
        await self._stub.unary("Cleanup", pb.CleanupRequest(snapshotter=self.name))


def _info(value: pb.Info) -> SnapshotInfo:
    return SnapshotInfo(
        name=value.name,
        kind=Kind(value.kind),
        parent=value.parent,
        created_at=moment(value.created_at),
        updated_at=moment(value.updated_at),
        labels=dict(value.labels),
    )
