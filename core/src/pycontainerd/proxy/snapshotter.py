"""A snapshotter behind a socket: `contracts.snapshots.Snapshotter` over containerd.services.snapshots.v1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from pycontainerd.api.convert import moment, mount_records
from pycontainerd.api.services.snapshots.v1 import snapshots_pb2 as pb
from pycontainerd.contracts.errors import Internal, InvalidArgument, NotImplemented
from pycontainerd.contracts.quoting import quote
from pycontainerd.contracts.snapshots import Kind, SnapshotInfo, Usage
from pycontainerd.contracts.types import EMPTY, Mount, Scope

from .link import Link

SERVICE = "containerd.services.snapshots.v1.Snapshots"
# Seconds. A remote snapshotter may fetch a layer's metadata in Prepare; Remove and Cleanup delete trees.
DEADLINES: Mapping[str, float] = {"Prepare": 120, "View": 120, "Commit": 120, "Remove": 120, "Cleanup": 600}


class ProxySnapshotter:
    """``name`` is what the other side calls the snapshotter. See `contracts.snapshots.Snapshotter`."""

    def __init__(self, link: Link, name: str, scope: Scope | None = None) -> None:
        self._link = link
        self._name = name
        self._scope = scope

    def in_scope(self, scope: Scope) -> ProxySnapshotter:
        """The same, with calls in the name of ``scope``; where the config names a namespace, that stays."""
        return self if self._scope is not None else ProxySnapshotter(self._link, self._name, scope)

    def stat(self, key: str) -> SnapshotInfo:
        response: pb.StatSnapshotResponse = self._unary("Stat", pb.StatSnapshotRequest, key=key)
        return self._info(response.info)

    def update(self, key: str, labels: Mapping[str, str], fieldpaths: Sequence[str] = ()) -> SnapshotInfo:
        mask = FieldMask(paths=fieldpaths) if fieldpaths else None
        response: pb.UpdateSnapshotResponse = self._unary(
            "Update", pb.UpdateSnapshotRequest, info=pb.Info(name=key, labels=labels), update_mask=mask
        )
        return self._info(response.info)

    def usage(self, key: str) -> Usage:
        response: pb.UsageResponse = self._unary("Usage", pb.UsageRequest, key=key)
        return Usage(response.size, response.inodes)

    def mounts(self, key: str) -> Sequence[Mount]:
        response: pb.MountsResponse = self._unary("Mounts", pb.MountsRequest, key=key)
        return mount_records(response.mounts)

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        response: pb.PrepareSnapshotResponse = self._unary(
            "Prepare", pb.PrepareSnapshotRequest, key=key, parent=parent, labels=labels
        )
        return mount_records(response.mounts)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] = EMPTY) -> Sequence[Mount]:
        response: pb.ViewSnapshotResponse = self._unary(
            "View", pb.ViewSnapshotRequest, key=key, parent=parent, labels=labels
        )
        return mount_records(response.mounts)

    def commit(self, name: str, key: str, labels: Mapping[str, str] = EMPTY, *, parent: str = "") -> None:
        self._unary("Commit", pb.CommitSnapshotRequest, name=name, key=key, labels=labels, parent=parent)

    def remove(self, key: str) -> None:
        self._unary("Remove", pb.RemoveSnapshotRequest, key=key)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[SnapshotInfo]:
        request = pb.ListSnapshotsRequest(snapshotter=self._name, filters=filters)
        # All of it before the first is given out: what the caller does meanwhile is not the other side's time.
        responses: list[pb.ListSnapshotsResponse] = list(self._link.stream(SERVICE, "List", request, self._scope))
        for response in responses:
            yield from map(self._info, response.info)

    def cleanup(self) -> None:
        with contextlib.suppress(NotImplemented):  # optional: who has no such call leaves nothing behind
            self._unary("Cleanup", pb.CleanupRequest)

    def close(self) -> None:
        self._link.close()

    def _unary(self, method: str, make: Any, **fields: Any) -> Any:
        return self._link.unary(SERVICE, method, make(snapshotter=self._name, **fields), self._scope)

    def _info(self, value: pb.Info) -> SnapshotInfo:
        try:
            return SnapshotInfo(
                name=value.name,
                kind=Kind(value.kind),
                parent=value.parent,
                created_at=moment(value.created_at),
                updated_at=moment(value.updated_at),
                labels=dict(value.labels),
            )
        except (ValueError, InvalidArgument) as exc:
            raise Internal(f"{self._link.plugin} tells of snapshot {quote(value.name)} what cannot be: {exc}") from exc
