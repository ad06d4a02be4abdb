"""Where a process is in the cgroup hierarchies."""

from __future__ import annotations

import os

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument

from . import files

ROOT = "/sys/fs/cgroup"


UNIFIED = os.path.exists(f"{ROOT}/cgroup.controllers")  # whether the machine has cgroup v2 alone


def of(pid: int) -> dict[str, str]:
    """The directories of a process's cgroup by controller; the one of v2, which has them all, is called "unified".

    :raises OSError: the process is gone.
    """
    return parse(files.read_text(f"/proc/{pid}/cgroup"), unified=UNIFIED)


def parse(text: str, *, unified: bool) -> dict[str, str]:
    """The content of /proc/PID/cgroup, see `of`."""
    controllers = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if unified:
            if number == "0" and not names:
                return {"unified": f"{ROOT}{path}"}
            continue
        for name in names.split(","):
            if name and not name.startswith("name="):
                controllers[name] = f"{ROOT}/{name}{path}"
    return controllers


def join(path: str) -> None:
    """Move this process into the cgroup ``path``, made if it is not there.

    :raises FailedPrecondition: it cannot be.
    """
    if ".." in path.split("/"):
        raise InvalidArgument(f"the shim's cgroup {path!r} leaves the hierarchy")
    roots = [ROOT] if UNIFIED else [f"{ROOT}/{name}" for name in of(os.getpid())]
    for root in roots:
        directory = os.path.normpath(f"{root}/{path}")
        try:
            os.makedirs(directory, exist_ok=True)
            files.write(f"{directory}/cgroup.procs", str(os.getpid()))
        except OSError as exc:
            raise FailedPrecondition(f"the shim cannot join cgroup {path!r}: {exc}") from exc
