"""Capabilities by name (linux/capability.h)."""

from __future__ import annotations

from collections.abc import Iterable

from pycontainerd.contracts.errors import InvalidArgument

_NAMES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]

ALL = tuple(f"CAP_{name}" for name in _NAMES)
"""Every capability, in the kernel's order (its number is its index)."""


def of_mask(mask: int) -> list[str]:
    """The capabilities of a bit mask as in ``/proc/PID/status``."""
    return [name for number, name in enumerate(ALL) if mask & 1 << number]


def current() -> list[str]:
    """The capabilities that this process has."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return of_mask(int(line.split()[1], 16))
    return []


def normalized(names: Iterable[str]) -> list[str]:
    """Names in upper case with ``CAP_``; ``ALL`` is every one.

    :raises InvalidArgument: one is not known.
    """
    found: list[str] = []
    for name in names:
        upper = name.upper()
        if upper == "ALL":
            return list(ALL)
        upper = upper if upper.startswith("CAP_") else f"CAP_{upper}"
        if upper not in ALL:
            raise InvalidArgument(f"{name!r} is no capability", hint="for example CAP_NET_ADMIN")
        found.append(upper)
    return found
