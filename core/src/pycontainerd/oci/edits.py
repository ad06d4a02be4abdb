"""Edits of a spec. Each is a function that changes the spec it is given and returns nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pycontainerd.contracts.errors import InvalidArgument

from .capabilities import current, normalized
from .spec import DEFAULT_PATH, Spec, device_rules

Edit = Callable[[Spec], None]
_CAP_SETS = ("bounding", "effective", "permitted")
_NAMESPACE_TYPES = frozenset({"pid", "ipc", "uts", "mount", "network", "user", "cgroup", "time"})
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*\Z")
CPU_PERIOD = 100_000  # microseconds


def _section(spec: Spec, *path: str) -> dict[str, Any]:
    for key in path:
        spec = spec.setdefault(key, {})
    return spec


def env(values: Iterable[str]) -> Edit:
    """Set variables given as ``NAME=value``; ``NAME`` alone removes it."""
    given = list(values)

    def edit(spec: Spec) -> None:
        process = _section(spec, "process")
        found = {item.partition("=")[0]: item for item in process.get("env", ())}
        for item in given:
            name, sign, _ = item.partition("=")
            if not name:
                raise InvalidArgument(f"environment variable {item!r} has no name")
            if sign:
                found[name] = item
            else:
                found.pop(name, None)
        process["env"] = list(found.values())

    return edit


def args(values: Sequence[str]) -> Edit:
    """The command line."""

    def edit(spec: Spec) -> None:
        _section(spec, "process")["args"] = list(values)

    return edit


def cwd(path: str) -> Edit:
    """The working directory, an absolute path in the container."""
    if not path.startswith("/"):
        raise InvalidArgument(f"working directory {path!r} is not absolute")

    def edit(spec: Spec) -> None:
        _section(spec, "process")["cwd"] = path

    return edit


def tty(spec: Spec) -> None:
    """Give the process a terminal."""
    _section(spec, "process")["terminal"] = True
    env(["TERM=xterm"])(spec)


def hostname(name: str) -> Edit:
    def edit(spec: Spec) -> None:
        spec["hostname"] = name

    return edit


def user(uid: int, gid: int, additional: Sequence[int] = ()) -> Edit:
    """Run as these ids."""

    def edit(spec: Spec) -> None:
        record: dict[str, Any] = {"uid": uid, "gid": gid}
        if additional:
            record["additionalGids"] = list(additional)
        _section(spec, "process")["user"] = record

    return edit


def rootfs(path: str, *, read_only: bool = False) -> Edit:
    def edit(spec: Spec) -> None:
        spec["root"] = {"path": path, **({"readonly": True} if read_only else {})}

    return edit


def read_only(spec: Spec) -> None:
    """Make the root file system read-only."""
    _section(spec, "root")["readonly"] = True


def mounts(values: Iterable[Mapping[str, Any]]) -> Edit:
    """Add mounts after those that are there; parents before what is below them, as given."""
    given = [dict(value) for value in values]

    def edit(spec: Spec) -> None:
        spec.setdefault("mounts", []).extend(given)

    return edit


def parse_mount(text: str) -> dict[str, Any]:
    """``type=bind,src=/a,dst=/b,options=rbind:ro``, as the Go tool writes mounts.

    :raises InvalidArgument: it has no destination, or keys that are not known.
    """
    mount: dict[str, Any] = {}
    names = {"type": "type", "source": "source", "src": "source", "destination": "destination", "dst": "destination"}
    for part in text.split(","):
        key, sign, value = part.partition("=")
        if key == "options" and sign:
            mount["options"] = value.split(":")
        elif key in names and sign:
            mount[names[key]] = value
        else:
            raise InvalidArgument(
                f"mount {text!r}: cannot read {part!r}", hint="e.g. type=bind,src=/tmp,dst=/host,options=rbind:ro"
            )
    if not mount.get("destination", "").startswith("/"):
        raise InvalidArgument(f"mount {text!r}: the destination must be an absolute path")
    return mount


def join_namespace(kind: str, path: str) -> Edit:
    """Join the namespace at ``path`` instead of making one."""
    if kind not in _NAMESPACE_TYPES:
        raise InvalidArgument(f"{kind!r} is no namespace type", hint=f"one of {', '.join(sorted(_NAMESPACE_TYPES))}")

    def edit(spec: Spec) -> None:
        host_namespace(kind)(spec)
        _section(spec, "linux")["namespaces"].append({"type": kind, "path": path})

    return edit


def host_namespace(kind: str) -> Edit:
    """Make no namespace of that type: share the host's."""

    def edit(spec: Spec) -> None:
        linux = _section(spec, "linux")
        linux["namespaces"] = [item for item in linux.get("namespaces", ()) if item["type"] != kind]

    return edit


def host_network(spec: Spec) -> None:
    """Share the host's network, with its name, names and resolver."""
    host_namespace("network")(spec)
    env([f"HOSTNAME={os.uname().nodename}"])(spec)
    bound = {"type": "bind", "options": ["rbind", "ro"]}
    mounts({"destination": path, "source": path, **bound} for path in ("/etc/hosts", "/etc/resolv.conf"))(spec)


def default_devices(spec: Spec) -> None:
    """Allow the devices that every container has."""
    _section(spec, "linux", "resources").setdefault("devices", []).extend(device_rules())


def default_env(spec: Spec) -> None:
    """The default PATH."""
    env([DEFAULT_PATH])(spec)


def new_privileges(spec: Spec) -> None:
    """Let processes gain privileges (set-uid programs work)."""
    _section(spec, "process").pop("noNewPrivileges", None)


def capabilities(names: Iterable[str]) -> Edit:
    """Have exactly these capabilities."""
    wanted = normalized(names)

    def edit(spec: Spec) -> None:
        found = _section(spec, "process", "capabilities")
        for key in _CAP_SETS:
            found[key] = list(wanted)

    return edit


def add_capabilities(names: Iterable[str]) -> Edit:
    wanted = normalized(names)

    def edit(spec: Spec) -> None:
        found = _section(spec, "process", "capabilities")
        for key in _CAP_SETS:
            found[key] = [*found.get(key, ()), *(name for name in wanted if name not in found.get(key, ()))]

    return edit


def drop_capabilities(names: Iterable[str]) -> Edit:
    unwanted = set(normalized(names))

    def edit(spec: Spec) -> None:
        found = _section(spec, "process", "capabilities")
        for key in (*_CAP_SETS, "inheritable", "ambient"):
            if key in found:
                found[key] = [name for name in found[key] if name not in unwanted]

    return edit


def privileged(spec: Spec) -> None:
    """Every capability that this process has, nothing masked or read-only, all devices allowed."""
    capabilities(current())(spec)
    linux = _section(spec, "linux")
    linux["maskedPaths"] = []
    linux["readonlyPaths"] = []
    linux.setdefault("resources", {})["devices"] = [{"allow": True, "access": "rwm"}]
    linux.pop("seccomp", None)
    for mount in spec.get("mounts", ()):
        if mount["type"] in ("sysfs", "cgroup"):
            mount["options"] = ["rw" if option == "ro" else option for option in mount.get("options", ())]
    process = _section(spec, "process")
    process.pop("apparmorProfile", None)
    process.pop("selinuxLabel", None)


def memory_limit(limit: int) -> Edit:
    """In bytes."""
    return _resource("memory", {"limit": limit})


def pids_limit(limit: int) -> Edit:
    return _resource("pids", {"limit": limit})


def cpu_shares(shares: int) -> Edit:
    return _resource("cpu", {"shares": shares})


def cpus(count: float) -> Edit:
    """At most so much time of CPUs (1.5: one and a half)."""
    if count <= 0:
        raise InvalidArgument(f"{count} CPUs make no sense")
    return cpu_quota(int(count * CPU_PERIOD), CPU_PERIOD)


def cpu_quota(quota: int, period: int) -> Edit:
    """``quota`` microseconds in each ``period``; 0 leaves the period as it is."""
    return _resource("cpu", {"quota": quota, **({"period": period} if period else {})})


def cpuset(cpu_list: str = "", memory_nodes: str = "") -> Edit:
    """The CPUs and memory nodes to run on, such as ``0-2,4``."""
    for text in (cpu_list, memory_nodes):
        if text and not _CPUSET.match(text):
            raise InvalidArgument(f"{text!r} is no list of CPUs or memory nodes", hint="for example 0-2,4")
    return _resource("cpu", {key: text for key, text in (("cpus", cpu_list), ("mems", memory_nodes)) if text})


def _resource(kind: str, values: Mapping[str, Any]) -> Edit:
    def edit(spec: Spec) -> None:
        _section(spec, "linux", "resources", kind).update(values)

    return edit


def rlimit(kind: str, soft: int, hard: int) -> Edit:
    """Set a resource limit such as ``RLIMIT_NOFILE``."""

    def edit(spec: Spec) -> None:
        process = _section(spec, "process")
        others = [item for item in process.get("rlimits", ()) if item["type"] != kind]
        process["rlimits"] = [*others, {"type": kind, "hard": hard, "soft": soft}]

    return edit


def cgroup(path: str) -> Edit:
    """The cgroup's path; "" for none of its own."""

    def edit(spec: Spec) -> None:
        _section(spec, "linux")["cgroupsPath"] = path

    return edit


def annotate(values: Mapping[str, str]) -> Edit:
    def edit(spec: Spec) -> None:
        _section(spec, "annotations").update(values)

    return edit


def compose(spec: Spec, edits: Iterable[Edit]) -> Spec:
    """Apply ``edits`` in order and return the spec."""
    for edit in edits:
        edit(spec)
    return spec
