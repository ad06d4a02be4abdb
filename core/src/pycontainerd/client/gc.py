"""Garbage collection, pruning and disk usage: our daemon's own service. The Go containerd does not serve it."""

from __future__ import annotations

from collections.abc import Sequence

from pycontainerd.api.convert import moment
from pycontainerd.api.gc.v1 import gc_pb2 as pb
from pycontainerd.contracts.gc import Collected, DiskUsage, Item, Node, Share, Step

from .service import Service


class GarbageCollection(Service):
    """See `contracts.gc.GarbageCollector`."""

    SERVICE = "pycontainerd.gc.v1.GC"

    async def collect(self) -> Collected:
        """Run a collection that begins now, and wait for its end."""
        done: pb.CollectResponse = await self._stub.unary("Collect", pb.CollectRequest())
        return Collected(
            done.mark_seconds,
            done.transaction_seconds,
            done.removal_seconds,
            dict(done.removed),
            done.bytes,
            done.spared,
            moment(done.started_at),
        )

    async def plan(self, *, all_namespaces: bool = False) -> list[Item]:
        """What a collection would take now."""
        found: list[Item] = []
        async for page in self._stub.stream("Plan", pb.PlanRequest(all_namespaces=all_namespaces)):
            found += map(_item, page.items)
        return found

    async def why(self, key: str) -> list[Step]:
        """The shortest way from a root to ``key``; empty: nothing keeps it."""
        found: pb.WhyResponse = await self._stub.unary("Why", pb.WhyRequest(key=key))
        return [Step(_node(step.node), step.by) for step in found.steps]

    async def prune(
        self,
        kind: str,
        filters: Sequence[str] = (),
        *,
        unused_for: float = 0.0,
        everything: bool = False,
        snapshotter: str = "",
        dry_run: bool = False,
    ) -> list[Item]:
        """Remove what nothing uses; see `contracts.gc.Selection`."""
        request = pb.PruneRequest(
            kind=kind,
            filters=filters,
            unused_for_seconds=unused_for,
            everything=everything,
            snapshotter=snapshotter,
            dry_run=dry_run,
        )
        found: list[Item] = []
        async for page in self._stub.stream("Prune", request):
            found += map(_item, page.items)
        return found

    async def usage(self, *, all_namespaces: bool = False) -> DiskUsage:
        """Whose the bytes on disk are."""
        found: pb.UsageResponse = await self._stub.unary("Usage", pb.UsageRequest(all_namespaces=all_namespaces))
        shares = [Share(one.namespace, one.owner, one.name, one.unique, one.shared) for one in found.shares]
        return DiskUsage(shares, found.blobs, found.snapshots, found.total)


def _node(value: pb.Node) -> Node:
    return Node(value.kind, value.namespace, value.key)


def _item(value: pb.Item) -> Item:
    return Item(_node(value.node), value.bytes, value.reason)
