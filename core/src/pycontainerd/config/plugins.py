"""Which plugins a config may speak of: those installed, with their config classes, and those known by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs

from pycontainerd.kernel.discovery import Found, discover
from pycontainerd.kernel.firstparty import PACKAGES
from pycontainerd.kernel.registration import split_uri

Find = Callable[[Collection[str]], Mapping[str, Found]]

# First-party plugins that have no row of their own in the kernel's list.
_WITH = {
    "io.containerd.cri.v1.images": "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.runtime": "io.containerd.grpc.v1.cri",
    "io.containerd.podsandbox.controller.v1.runtime": "io.containerd.grpc.v1.cri",
    "io.containerd.metrics.v1.grpc-prometheus": "io.containerd.server.v1.metrics",
    "io.containerd.monitor.task.v1.cgroups": "io.containerd.server.v1.metrics",
}
FIRST_PARTY: Mapping[str, str] = PACKAGES | {uri: PACKAGES[other] for uri, other in _WITH.items()}

# The Go containerd's, 1.2 to 2.3, as ids by type.
_GO = {
    "io.containerd.content.v1": "content",
    "io.containerd.cri.v1": "images runtime",
    "io.containerd.differ.v1": "blockcim cimfs erofs walking windows windows-lcow",
    "io.containerd.event.v1": "exchange",
    "io.containerd.gc.v1": "scheduler",
    "io.containerd.grpc.v1": "containers content cri diff events healthcheck images introspection leases mounts namespaces"
    " sandbox-controllers sandboxes snapshots streaming tasks transfer version",
    "io.containerd.http.v1": "pprof prometheus",
    "io.containerd.image-verifier.v1": "bindir",
    "io.containerd.internal.v1": "architecture opt restart tracing",
    "io.containerd.lease.v1": "manager",
    "io.containerd.metadata.v1": "bolt",
    "io.containerd.metrics.v1": "grpc-otel grpc-prometheus",
    "io.containerd.monitor.container.v1": "restart",
    "io.containerd.monitor.task.v1": "cgroups",
    "io.containerd.monitor.v1": "cgroups",
    "io.containerd.mount-handler.v1": "erofs",
    "io.containerd.mount-manager.v1": "bolt",
    "io.containerd.nri.v1": "nri",
    "io.containerd.podsandbox.controller.v1": "runtime",
    "io.containerd.runtime.v1": "linux",
    "io.containerd.runtime.v2": "shim task",
    "io.containerd.sandbox.controller.v1": "local podsandbox shim",
    "io.containerd.sandbox.store.v1": "local",
    "io.containerd.server.v1": "debug grpc grpc-tcp metrics ttrpc",
    "io.containerd.service.v1": "containers-service content-service diff-service images-service introspection-service"
    " leases-service namespaces-service snapshots-service tasks-service",
    "io.containerd.shim.v1": "manager",
    "io.containerd.snapshotter.v1": "aufs blockcim blockfile btrfs cimfs devmapper erofs native overlayfs windows windows-lcow"
    " zfs",
    "io.containerd.streaming.v1": "manager",
    "io.containerd.tracing.processor.v1": "otlp",
    "io.containerd.transfer.v1": "local",
    "io.containerd.ttrpc.v1": "events task",
    "io.containerd.warning.v1": "deprecations",
}
# Listeners that a config may ask for and that may not be there: to take the address without a word would deceive.
_LISTENERS: Mapping[str, str] = {
    "io.containerd.server.v1.grpc-tcp": "this release serves gRPC on its unix socket only",
    "io.containerd.server.v1.debug": "this release has no debug server; its log and `ctr plugins why` are what there is",
    "io.containerd.server.v1.metrics": "metrics are served by the package pycontainerd-metrics, which is not installed",
}
GO = frozenset(f"{type_}.{id_}" for type_, ids in _GO.items() for id_ in ids.split())

# Keys of the Go containerd's plugins that ours, where they have the name, do not have.
GO_KEYS: Mapping[str, frozenset[str]] = {
    "io.containerd.metadata.v1.bolt": frozenset({"content_sharing_policy", "no_sync"}),
    "io.containerd.transfer.v1.local": frozenset(
        {
            "max_concurrent_downloads",
            "concurrent_layer_fetch_buffer",
            "max_concurrent_uploaded_layers",
            "check_platform_supported",
            "unpack_config",
            "config_path",
            "max_concurrent_unpacks",
        }
    ),
}
NOT_OURS = "is a key of the Go containerd that this release does not use"


@attrs.frozen
class Plugins:
    """What is installed: ``configs`` by URI (None: it takes no config), ``broken`` those whose import failed, and why."""

    configs: Mapping[str, type[Any] | None]
    broken: Mapping[str, str]
    disabled: frozenset[str] = frozenset()

    @property
    def tables(self) -> dict[str, type[Any]]:
        """The config classes of the plugins that have one."""
        return {uri: config for uri, config in self.configs.items() if config is not None}

    @property
    def installed(self) -> frozenset[str]:
        return frozenset({*self.configs, *self.broken, *self.disabled})

    @property
    def known(self) -> frozenset[str]:
        return self.installed | frozenset(FIRST_PARTY) | GO

    def absent(self, uri: str) -> tuple[str, str, str]:
        """What ``uri`` is if it is not installed: a severity, a sentence, a hint."""
        if uri in FIRST_PARTY:
            return "note", f"{uri} is not installed", f"pip install {FIRST_PARTY[uri]}"
        if uri in GO:
            return "note", f"{uri} is a plugin of the Go containerd that this release does not have", ""
        near = self.nearest(uri)
        return "warning", f"{uri} is not a plugin known here", f"did you mean {near}?" if near else ""

    def nearest(self, name: str) -> str:
        """The known URI that ``name`` was most likely meant to be; an id will do for a name. Empty: none."""
        near = difflib.get_close_matches(name, sorted(self.known), n=1, cutoff=0.7)
        if near or "." in name:
            return near[0] if near else ""
        ids = {split_uri(uri)[1]: uri for uri in sorted(self.known, key=lambda uri: (uri in self.installed, uri))}
        fits = difflib.get_close_matches(name, ids, n=1, cutoff=0.6)
        return ids[fits[0]] if fits else ""

    def unserved(self, uri: str, table: object) -> str:
        """What ``table`` asks for in vain of a listener that this release does not have. Empty: nothing."""
        address = table.get("address", "") if isinstance(table, Mapping) else ""
        if uri not in _LISTENERS or uri in self.installed or not address:
            return ""
        return f"nothing will listen on {address!r:.200}: {_LISTENERS[uri]}"


def installed(disabled: Collection[str] = (), find: Find = discover) -> Plugins:
    """Import every plugin that ``find`` finds except those in ``disabled``, and take their config classes."""
    found = find(disabled)
    return Plugins(
        {uri: one.registration.config for uri, one in found.items() if one.registration is not None},
        {uri: str(one.error) for uri, one in found.items() if one.error is not None},
        frozenset(uri for uri, one in found.items() if one.registration is None and one.error is None),
    )
