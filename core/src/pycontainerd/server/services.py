"""Which plugin serves which RPC service: what a client of a missing one is told about."""

from __future__ import annotations

from collections.abc import Callable

from pycontainerd.kernel import Report

PLUGINS: dict[str, str] = {
    "containerd.services.containers.v1.Containers": "io.containerd.grpc.v1.containers",
    "containerd.services.content.v1.Content": "io.containerd.grpc.v1.content",
    "containerd.services.diff.v1.Diff": "io.containerd.grpc.v1.diff",
    "containerd.services.events.v1.Events": "io.containerd.grpc.v1.events",
    "containerd.services.images.v1.Images": "io.containerd.grpc.v1.images",
    "containerd.services.introspection.v1.Introspection": "io.containerd.grpc.v1.introspection",
    "containerd.services.leases.v1.Leases": "io.containerd.grpc.v1.leases",
    "containerd.services.mounts.v1.Mounts": "io.containerd.grpc.v1.mounts",
    "containerd.services.namespaces.v1.Namespaces": "io.containerd.grpc.v1.namespaces",
    "containerd.services.sandbox.v1.Controller": "io.containerd.grpc.v1.sandbox-controllers",
    "containerd.services.sandbox.v1.Store": "io.containerd.grpc.v1.sandboxes",
    "containerd.services.snapshots.v1.Snapshots": "io.containerd.grpc.v1.snapshots",
    "containerd.services.streaming.v1.Streaming": "io.containerd.grpc.v1.streaming",
    "containerd.services.tasks.v1.Tasks": "io.containerd.grpc.v1.tasks",
    "containerd.services.transfer.v1.Transfer": "io.containerd.grpc.v1.transfer",
    "containerd.services.version.v1.Version": "io.containerd.grpc.v1.version",
    "grpc.health.v1.Health": "io.containerd.grpc.v1.healthcheck",
    "pycontainerd.services.control.v1.Control": "io.containerd.grpc.v1.control",
    "pycontainerd.gc.v1.GC": "io.containerd.grpc.v1.gc",
    "runtime.v1.ImageService": "io.containerd.grpc.v1.cri",
    "runtime.v1.RuntimeService": "io.containerd.grpc.v1.cri",
}


def explainer(report: Callable[[], Report]) -> Callable[[str], str]:
    """A function from the path of an RPC that is not served to the sentence that says why."""

    def explain(path: str) -> str:
        service, _, method = path.removeprefix("/").rpartition("/")
        uri = PLUGINS.get(service)
        if uri is None:
            return f"unknown service {service}: it is no part of containerd's API"
        row = report().rows.get(uri)
        if row is None:
            return f"unknown service {service}: this release has no plugin {uri}"
        if row.sentence == f"{uri} is ok":
            return f"{service} has no method {method} that is served by {uri}"
        return f"unknown service {service}: {row.sentence}"

    return explain
