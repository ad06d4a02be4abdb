"""Where a process is in the cgroup hierarchies."""

from __future__ import annotations

import os

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument

from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "/sys/fs/cgroup"


class Cgroup:
    """``unified`` is the directory in the one hierarchy of v2; else ``controllers`` has one each."""

    __slots__ = ("controllers", "unified")

    def __init__(self, *, unified: str = "", controllers: Mapping[str, str] | None = None) -> None:
        self.unified = unified
        self.controllers = controllers or {}


def is_unified() -> bool:
    """Whether the machine has cgroup v2 alone."""
    return os.path.exists(f"{ROOT}/cgroup.controllers")


def of(pid: int) -> Cgroup:
    """The cgroup of a process.

    :raises OSError: the process is gone.
    """
    return parse(files.read_text(f"/proc/{pid}/cgroup"), unified=is_unified())


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
            files.write(f"{directory}/cgroup.procs", str(os.getpid()))
        except OSError as exc:
            raise FailedPrecondition(f"the shim cannot join cgroup {path!r}: {exc}") from exc
