"""Where a process is in the cgroup hierarchies."""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument

ROOT = "/sys/fs/cgroup"


@attrs.frozen
class Cgroup:
    """``unified`` is the directory in the one hierarchy of v2; else ``controllers`` has one each."""

    unified: str = ""
    controllers: Mapping[str, str] = attrs.field(factory=dict)


def is_unified() -> bool:
    """Whether the machine has cgroup v2 alone."""
    return os.path.exists(f"{ROOT}/cgroup.controllers")


def of(pid: int) -> Cgroup:
    """The cgroup of a process.

    :raises OSError: the process is gone.
    """
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read(), unified=is_unified())


def parse(text: str, *, unified: bool) -> Cgroup:
    """The content of /proc/PID/cgroup."""
    controllers = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if unified:
            if number == "0" and not names:
                return Cgroup(unified=os.path.normpath(f"{ROOT}/{path}"))
            continue
        for name in names.split(","):
            if name and not name.startswith("name="):
                controllers[name] = os.path.normpath(f"{ROOT}/{name}/{path}")
    return Cgroup(controllers=controllers)


def join(path: str) -> None:
    """Move this process into the cgroup ``path``, made if it is not there; nothing for an empty one.

    :raises FailedPrecondition: it cannot be.
    """
    if not path:
        return
    if ".." in path.split("/"):
        raise InvalidArgument(f"the shim's cgroup {path!r} leaves the hierarchy")
    roots = [ROOT] if is_unified() else [f"{ROOT}/{name}" for name in of(os.getpid()).controllers]
    for root in roots:
        directory = os.path.normpath(f"{root}/{path}")
        try:
            os.makedirs(directory, exist_ok=True)
            with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except OSError as exc:
            raise FailedPrecondition(f"the shim cannot join cgroup {path!r}: {exc}") from exc
