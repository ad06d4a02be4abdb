"""Devices of the host for a container."""

from __future__ import annotations

import os
import stat
from typing import Any

from pycontainerd.contracts.errors import InvalidArgument, NotFound

from .edits import Edit
from .spec import Spec

# The runtime makes these itself; sockets and terminals of the host are no business of a container.
_LEFT_OUT = frozenset({"/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/.lxc", "/dev/.udev", "/dev/console"})
_MAX_DEVICES = 4096


def _record(path: str, status: os.stat_result) -> dict[str, Any]:
    return {
        "path": path,
        "type": "b" if stat.S_ISBLK(status.st_mode) else "c",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _is_device(status: os.stat_result) -> bool:
    return stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)


def _below(directory: str) -> list[dict[str, Any]]:
    """The devices in ``directory`` and below it; links are not followed."""
    found: list[dict[str, Any]] = []
    pending = [directory]
    while pending:
        for entry in sorted(os.scandir(pending.pop()), key=lambda item: item.name):
            if entry.path in _LEFT_OUT or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
                continue
            status = entry.stat(follow_symlinks=False)
            if _is_device(status):
                found.append(_record(entry.path, status))
            if len(found) > _MAX_DEVICES:
                raise InvalidArgument(f"{directory} has more than {_MAX_DEVICES} devices")
    return found


def _make(spec: Spec, records: list[dict[str, Any]]) -> None:
    spec.setdefault("linux", {}).setdefault("devices", []).extend(records)


def _add(spec: Spec, records: list[dict[str, Any]]) -> None:
    _make(spec, records)
    linux = spec["linux"]
    rules = linux.setdefault("resources", {}).setdefault("devices", [])
    rules.extend(
        {"allow": True, "type": item["type"], "major": item["major"], "minor": item["minor"], "access": "rwm"}
        for item in records
    )


def host_devices(spec: Spec) -> None:
    """Give it every device of the host; that it may use them is another edit's (`edits.privileged`)."""
    _make(spec, _below("/dev"))


def device(path: str) -> Edit:
    """Give it the device at ``path``, or every device in a directory.

    :raises NotFound: there is nothing.
    :raises InvalidArgument: it is no device.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise NotFound(f"device {path}: no such file") from None
    if stat.S_ISDIR(status.st_mode):
        records = _below(path)
    elif _is_device(status):
        records = [_record(path, status)]
    else:
        raise InvalidArgument(f"{path} is no device")
    return lambda spec: _add(spec, records)
