"""User namespaces (user_namespaces(7))."""

from __future__ import annotations


def in_user_namespace() -> bool:
    """Whether we run in a user namespace other than the initial one, where root cannot do everything."""
    with open("/proc/self/uid_map", encoding="ascii") as handle:
        return handle.read().split() != ["0", "0", "4294967295"]
