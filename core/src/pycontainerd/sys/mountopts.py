"""Mounts changed so that they can be mounted once more, or only read. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pycontainerd.contracts.types import Mount

_VOLATILE = ("volatile", "fsync=volatile")


def is_read_only(mount: Mount) -> bool:
    """Whether nothing can be written through ``mount``, so far as its type and options say."""
    options = ",".join(mount.options).split(",")
    if "ro" in options or mount.type.rsplit("/", 1)[-1] == "erofs":
        return True
    return mount.type == "overlay" and not any(option.startswith("upperdir=") for option in options)


def read_only(mounts: Sequence[Mount]) -> list[Mount]:
    """The same mounts so that nothing can be written: an overlay's upper directory becomes its topmost lower one."""
    return [attrs.evolve(mount, options=_read_only_options(mount)) for mount in mounts]


def _read_only_options(mount: Mount) -> tuple[str, ...]:
    if mount.type != "overlay":
        return (*(option for option in mount.options if option not in ("ro", "rw")), "ro")
    upper = [option.removeprefix("upperdir=") for option in mount.options if option.startswith("upperdir=")]
    result = []
    for option in mount.options:
        if option.startswith("lowerdir="):
            result.append("lowerdir=" + ":".join([*upper, option.removeprefix("lowerdir=")]))
        elif not option.startswith(("upperdir=", "workdir=", "uidmap=", "gidmap=")):
            result.append(option)
    return tuple(result)


def without_volatile(mounts: Sequence[Mount]) -> list[Mount]:
    """The same mounts without overlay's ``volatile``: with it, an upper directory can be mounted only once."""
    return [
        attrs.evolve(mount, options=tuple(option for option in mount.options if option not in _VOLATILE))
        if mount.type == "overlay"
        else mount
        for mount in mounts
    ]
