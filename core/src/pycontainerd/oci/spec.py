"""The default spec of containerd for Linux, and specs as they cross the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import AnyValue

Spec = dict[str, Any]

SPEC_VERSION = "1.3.0"
SPEC_URL = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
PROCESS_URL = "types.containerd.io/opencontainers/runtime-spec/1/Process"
RESOURCES_URL = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
MAX_SPEC = 4 << 20  # bytes

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
NAMESPACES = ("pid", "ipc", "uts", "mount", "network")
_NOFILE = 1024

_QUIET = ("nosuid", "noexec", "nodev")
_MOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", _QUIET),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", (*_QUIET, "mode=1777", "size=65536k")),
    ("/dev/mqueue", "mqueue", "mqueue", _QUIET),
    ("/sys", "sysfs", "sysfs", (*_QUIET, "ro")),
    ("/run", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
)
# What may be used of the devices that every container has: null, random, full, tty, zero, urandom, console, the
# slaves of /dev/pts, ptmx.
_DEVICES: tuple[tuple[int, int | None], ...] = (
    (1, 3),
    (1, 8),
    (1, 7),
    (5, 0),
    (1, 5),
    (1, 9),
    (5, 1),
    (136, None),
    (5, 2),
)


def default_spec(namespace: str = "default", id: str = "") -> Spec:  # noqa: A002 - the field's name
    """A new spec with containerd's defaults for a Linux container ``id`` in ``namespace``."""
    caps = list(DEFAULT_CAPABILITIES)
    return {
        "ociVersion": SPEC_VERSION,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": list(caps), "permitted": list(caps)},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": _NOFILE, "soft": _NOFILE}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": target, "type": kind, "source": source, "options": list(options)}
            for target, kind, source, options in _MOUNTS
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "cgroupsPath": f"/{namespace}/{id}" if id else f"/{namespace}",
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }


def device_rules() -> list[dict[str, Any]]:
    """Device rules for the devices that every container has."""
    rules = []
    for major, minor in _DEVICES:
        rule: dict[str, Any] = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        if minor is not None:
            rule["minor"] = minor
        rules.append(rule)
    return rules


def to_any(spec: Mapping[str, Any]) -> AnyValue:
    """A spec as containers carry it."""
    return AnyValue(SPEC_URL, json.dumps(spec, separators=(",", ":")).encode())


def process_any(process: Mapping[str, Any]) -> AnyValue:
    """A process of a spec as exec takes it."""
    return AnyValue(PROCESS_URL, json.dumps(process, separators=(",", ":")).encode())


def from_any(value: AnyValue | None) -> Spec:
    """The spec that a container carries.

    :raises InvalidArgument: there is none, it is too large, or it is no JSON object.
    """
    if value is None or not value.value:
        raise InvalidArgument("the container has no runtime spec")
    return parse(value.value)


def parse(data: bytes) -> Spec:
    """The spec in a ``config.json``.

    :raises InvalidArgument: it is too large or no JSON object.
    """
    if len(data) > MAX_SPEC:
        raise InvalidArgument(f"a runtime spec of {len(data)} bytes is too large (limit {MAX_SPEC})")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"the runtime spec is not JSON: {exc}") from None
    if not isinstance(found, dict):
        raise InvalidArgument("the runtime spec is not a JSON object")
    return found
