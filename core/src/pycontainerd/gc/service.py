"""pycontainerd.gc.v1.GC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pycontainerd.api.convert import timestamp
from pycontainerd.api.gc.v1 import gc_pb2 as pb
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.gc import GarbageCollector, Item, Node, Selection
from pycontainerd.contracts.service import Call

PAGE = 500  # items in one message


class GarbageRpc:
    """The gRPC edge of `GarbageCollector`."""

    SERVICE = "pycontainerd.gc.v1.GC"

    def __init__(self, collector: GarbageCollector) -> None:
        self._collector = collector

    def Collect(self, request: pb.CollectRequest, call: Call) -> pb.CollectResponse:
        done = self._collector.collect()
        return pb.CollectResponse(
            removed=done.removed,
            bytes=done.bytes,
            spared=done.spared,
            mark_seconds=done.mark,
            transaction_seconds=done.transactions,
            removal_seconds=done.removal,
            started_at=timestamp(done.started_at),
        )

    def Plan(self, request: pb.PlanRequest, call: Call) -> Iterator[pb.Items]:
        yield from _pages(self._collector.plan("" if request.all_namespaces else call.namespace))

    def Why(self, request: pb.WhyRequest, call: Call) -> pb.WhyResponse:
        if not request.key:
            raise InvalidArgument("name something to ask about")
        steps = self._collector.why(call.namespace, request.key)
        return pb.WhyResponse(steps=[pb.Step(node=_node(step.node), by=step.by) for step in steps])

    def Prune(self, request: pb.PruneRequest, call: Call) -> Iterator[pb.Items]:
        if not 0 <= request.unused_for_seconds < 1e10:
            raise InvalidArgument(f"cannot prune what is unused for {request.unused_for_seconds} seconds")
        selection = Selection(
            request.kind,
            call.namespace,
            tuple(request.filters),
            request.unused_for_seconds,
            request.everything,
            request.snapshotter,
            request.dry_run,
        )
        yield from _pages(self._collector.prune(selection))

    def Usage(self, request: pb.UsageRequest, call: Call) -> pb.UsageResponse:
        found = self._collector.usage("" if request.all_namespaces else call.namespace)
        shares = [
            pb.Share(namespace=one.namespace, owner=one.owner, name=one.name, unique=one.unique, shared=one.shared)
            for one in found.shares
        ]
        return pb.UsageResponse(shares=shares, blobs=found.blobs, snapshots=found.snapshots, total=found.total)


def _pages(items: Iterable[Item]) -> Iterator[pb.Items]:
    page = pb.Items()
    for item in items:
        page.items.append(pb.Item(node=_node(item.node), bytes=item.bytes, reason=item.reason))
        if len(page.items) == PAGE:
            yield page
            page = pb.Items()
    if page.items:
        yield page


def _node(node: Node) -> pb.Node:
    return pb.Node(kind=node.kind, namespace=node.namespace, key=node.key)
