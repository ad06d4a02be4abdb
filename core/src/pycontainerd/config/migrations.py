"""From each version of the config file to the next: functions from document to document, one file at a time.

Version 1 names plugins by short ids. Version 2 names them by URIs. Version 3 has CRI in three tables. In version 4 the
listeners are plugins. As in the Go containerd, names that moved are also taken from files that should know better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import cri
from .document import Document, Finding, Path, dotted

LATEST = 4
PLUGINS = "plugins"
GRPC = (PLUGINS, "io.containerd.server.v1.grpc")
TCP = (PLUGINS, "io.containerd.server.v1.grpc-tcp")
TTRPC = (PLUGINS, "io.containerd.server.v1.ttrpc")

_SHORT: Mapping[str, str] = {
    "cri": "io.containerd.grpc.v1.cri",
    "cgroups": "io.containerd.monitor.v1.cgroups",
    "linux": "io.containerd.runtime.v1.linux",
    "scheduler": "io.containerd.gc.v1.scheduler",
    "bolt": "io.containerd.metadata.v1.bolt",
    "task": "io.containerd.runtime.v2.task",
    "opt": "io.containerd.internal.v1.opt",
    "restart": "io.containerd.internal.v1.restart",
    "tracing": "io.containerd.internal.v1.tracing",
    "otlp": "io.containerd.tracing.processor.v1.otlp",
} | {
    name: f"io.containerd.snapshotter.v1.{name}"
    for name in ("aufs", "btrfs", "devmapper", "native", "overlayfs", "windows", "windows-lcow", "zfs")
}
# The rest of the old names: whole tables that got another URI between 2 and 3.
_RENAMED: Mapping[str, str] = {
    "io.containerd.monitor.v1.cgroups": "io.containerd.monitor.task.v1.cgroups",
    "io.containerd.internal.v1.restart": "io.containerd.monitor.container.v1.restart",
}
# Version 3's listener tables, key by key.
LISTENERS: Mapping[Path, Path] = {
    ("grpc", "address"): (*GRPC, "address"),
    ("grpc", "uid"): (*GRPC, "uid"),
    ("grpc", "gid"): (*GRPC, "gid"),
    ("grpc", "max_recv_message_size"): (*GRPC, "max_recv_message_size"),
    ("grpc", "max_send_message_size"): (*GRPC, "max_send_message_size"),
    ("grpc", "tcp_address"): (*TCP, "address"),
    ("grpc", "tcp_tls_ca"): (*TCP, "tls_ca"),
    ("grpc", "tcp_tls_cert"): (*TCP, "tls_cert"),
    ("grpc", "tcp_tls_key"): (*TCP, "tls_key"),
    ("grpc", "tcp_tls_common_name"): (*TCP, "tls_common_name"),
    ("ttrpc", "address"): (*TTRPC, "address"),
    ("ttrpc", "uid"): (*TTRPC, "uid"),
    ("ttrpc", "gid"): (*TTRPC, "gid"),
    ("debug", "address"): (PLUGINS, "io.containerd.server.v1.debug", "address"),
    ("debug", "uid"): (PLUGINS, "io.containerd.server.v1.debug", "uid"),
    ("debug", "gid"): (PLUGINS, "io.containerd.server.v1.debug", "gid"),
    ("metrics", "address"): (PLUGINS, "io.containerd.server.v1.metrics", "address"),
    ("metrics", "grpc_histogram"): (PLUGINS, "io.containerd.metrics.v1.grpc-prometheus", "grpc_histogram"),
}


def migrate(document: Document, version: int) -> Document:
    """``document``, of ``version``, as one of the latest version. The argument is left as it is."""
    document = document.copy()
    if "version" not in document.values and document.values:
        document.values["version"] = 1
    for step in _STEPS[version - 1 : LATEST - 1] or _STEPS[-1:]:
        step(document)
    if version < LATEST:
        document.values["version"] = LATEST
    return document


def long_name(name: str) -> str:
    """The URI that version 1's short id of a plugin stands for."""
    if "." in name:
        return name
    kind = "service" if name.endswith("-service") else "grpc"
    return _SHORT.get(name, f"io.containerd.{kind}.v1.{name}")


def _names_to_uris(document: Document) -> None:
    plugins = document.get((PLUGINS,))
    if isinstance(plugins, dict):
        for name in list(plugins):
            document.move((PLUGINS, name), (PLUGINS, long_name(name)))
    for key in ("disabled_plugins", "required_plugins"):
        listed = document.get((key,))
        if not isinstance(listed, list):
            continue
        for item in filter(lambda item: isinstance(item, str), listed):
            origin = document.origins.pop((key, item), "")
            if origin:
                document.origins[key, long_name(item)] = origin
        document.values[key] = [long_name(item) if isinstance(item, str) else item for item in listed]


def _tables_split(document: Document, *, late: bool = False) -> None:
    for old, new in _RENAMED.items():
        # The Go containerd puts the old table in the new one's place, but does not look at it in version 4.
        document.move((PLUGINS, old), (PLUGINS, new), old_wins=not late)
    cri.split(document)
    if not late and document.get((PLUGINS, "io.containerd.runtime.v2.task", "sched_core")) is True:
        # The Go containerd moved it to its shims' environment. Both are kept: the key is what this daemon reads.
        env = (PLUGINS, "io.containerd.shim.v1.manager", "env")
        if not document.has(env):
            document.put(env, ["SCHED_CORE=1"], (PLUGINS, "io.containerd.runtime.v2.task", "sched_core"))


def _listeners_to_plugins(document: Document, *, late: bool = False) -> None:
    _tables_split(document, late=late)  # files of version 3 with the names of version 2 exist
    _inherit_ttrpc(document)
    addressed = {old[0] for old in LISTENERS if old[1] == "address" and document.get(old)}
    for old, new in LISTENERS.items():
        value = document.get(old)
        owner = old[0] in addressed and old[1] in ("uid", "gid")
        if _zero(value) and not owner:
            document.drop(old)  # nothing, to the Go containerd, is the same as not written
        else:
            document.move(old, new)
    for table in ("grpc", "ttrpc", "metrics", "plugin_dir"):
        if document.get((table,)) in ({}, ""):
            document.drop((table,))


def _inherit_ttrpc(document: Document) -> None:
    """Before version 4 the ttrpc socket is beside the gRPC socket and has its owner, unless the file says otherwise."""
    address = document.get(("grpc", "address"))
    if not isinstance(address, str) or not address or document.get(("ttrpc", "address")) or document.has(TTRPC):
        return
    if not isinstance(document.get(("ttrpc",), {}), dict):
        return
    document.put((*TTRPC, "address"), f"{address}.ttrpc", ("grpc", "address"), derived=True)
    for key in ("uid", "gid"):
        owner = document.get(("grpc", key))
        if owner and not document.get(("ttrpc", key)):
            document.put((*TTRPC, key), owner, ("grpc", key), derived=True)


def _zero(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int)) and not value)


def _late_names(document: Document) -> None:
    """In version 4 the listeners' old tables have no meaning to the Go containerd. Here they are taken, and reported."""
    for old, new in LISTENERS.items():
        if document.has(old) and not _zero(document.get(old)):
            document.findings.append(
                Finding(
                    "warning",
                    document.where(old),
                    f"{dotted(old)} is a name of version 3, which the Go containerd does not read in a file of version 4",
                    f"write {dotted(new)}",
                )
            )
    _listeners_to_plugins(document, late=True)


_STEPS: tuple[Callable[[Document], None], ...] = (_names_to_uris, _tables_split, _listeners_to_plugins, _late_names)

# The names that articles about the configuration use, which are those of the Go structures, and the keys they stand for.
ALIASES: Mapping[str, Path] = {
    "Version": ("version",),
    "Root": ("root",),
    "State": ("state",),
    "Imports": ("imports",),
    "DisabledPlugins": ("disabled_plugins",),
    "RequiredPlugins": ("required_plugins",),
    "Plugins": (PLUGINS,),
    "ProxyPlugins": ("proxy_plugins",),
    "Timeouts": ("timeouts",),
    "OOMScore": ("oom_score",),
    "CgroupParent": ("cgroup", "path"),
    "LogLevel": ("debug", "level"),
    "GRPCAddress": (*GRPC, "address"),
    "TTRPCAddress": (*TTRPC, "address"),
    "DebugAddress": (PLUGINS, "io.containerd.server.v1.debug", "address"),
    "MetricsAddress": (PLUGINS, "io.containerd.server.v1.metrics", "address"),
    "MaxRecvMsgSize": (*GRPC, "max_recv_message_size"),
    "MaxSendMsgSize": (*GRPC, "max_send_message_size"),
    "MaxRecvMessageSize": (*GRPC, "max_recv_message_size"),
    "MaxSendMessageSize": (*GRPC, "max_send_message_size"),
    "SandboxImage": (*cri.IMAGES, "pinned_images", "sandbox"),
    "Snapshotter": (*cri.IMAGES, "snapshotter"),
    "DefaultRuntime": (*cri.RUNTIME, "containerd", "default_runtime_name"),
    "DefaultRuntimeName": (*cri.RUNTIME, "containerd", "default_runtime_name"),
}
_TABLES: Mapping[str, str] = {
    "Debug": "debug",
    "GRPC": "grpc",
    "TTRPC": "ttrpc",
    "Metrics": "metrics",
    "Cgroup": "cgroup",
}
_IN_TABLES: Mapping[str, str] = {
    "MaxRecvMsgSize": "max_recv_message_size",
    "MaxSendMsgSize": "max_send_message_size",
    "Address": "address",
    "UID": "uid",
    "GID": "gid",
    "Level": "level",
    "Format": "format",
    "Path": "path",
}


def rename_aliases(document: Document) -> Document:
    """``document`` with CamelCase names replaced by the keys they stand for, each with a finding that says so.

    Comes before `migrate`, because a listener may be named in the old way by an alias.
    """
    if not any(key[:1].isupper() for key in document.values):
        return document
    document = document.copy()
    for table, name in _TABLES.items():
        for alias, key in _IN_TABLES.items():
            _rename(document, (table, alias), (table, key))
        _rename(document, (table,), (name,))
    for alias, path in ALIASES.items():
        _rename(document, (alias,), path)
    return document


def _rename(document: Document, old: Path, new: Path) -> None:
    if not document.has(old):
        return
    if new[0] in ("disabled_plugins", "required_plugins"):
        for path in [path for path in document.origins if path[0] == old[0] and len(path) > 1]:
            document.origins[new[0], path[1]] = document.origins[path]
    document.findings.append(
        Finding("note", document.where(old), f"{dotted(old)} is taken as {dotted(new)}", f"write {dotted(new)}")
    )
    document.move(old, new)
