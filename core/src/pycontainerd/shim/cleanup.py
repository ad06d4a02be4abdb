"""After a shim has died: remove what it left of its container."""

from __future__ import annotations

import contextlib
import logging
import os
import time

from pycontainerd.api.runtime.task.v3.shim_pb2 import DeleteResponse
from pycontainerd.contracts.errors import ContainerdError, NotFound
from pycontainerd.contracts.types import AnyValue
from pycontainerd.sys.mount import unmount_recursive

from . import loop
from .driver import Driver
from .nursery import load_driver
from .processes import read_pid
from .reaper import Reaper
from .shim import stamp

log = logging.getLogger("containerd.shim")

_KILLED = 137


def cleanup(namespace: str, id: str, bundle: str, driver: str) -> bytes:  # noqa: A002
    """Kill and delete the container, unmount its root; a DeleteResponse. Done already is no error.

    :raises NotFound: the driver cannot be imported.
    :raises FailedPrecondition: its root cannot be unmounted.
    """
    found: Driver = load_driver(driver)
    if not os.path.isdir(bundle):
        raise NotFound(f"there is no bundle {bundle}")
    try:
        loop.run(_delete(found, namespace, id, bundle))
    except ContainerdError as exc:
        log.warning(f"cannot delete what is left of container {id}: {exc}")
    unmount_recursive(os.path.join(bundle, "rootfs"))
    pid = 0
    with contextlib.suppress(ContainerdError):
        pid = read_pid(os.path.join(bundle, "init.pid"))
    return DeleteResponse(pid=pid, exit_status=_KILLED, exited_at=stamp(time.time_ns())).SerializeToString()


async def _delete(driver: Driver, namespace: str, id: str, bundle: str) -> None:  # noqa: A002
    reaper = Reaper(lambda _pid, _exit: None)
    reaper.install()
    runtime = driver.runtime(reaper, namespace=namespace, id=id, bundle=bundle, options=_options(bundle))
    await runtime.delete(force=True)


def _options(bundle: str) -> AnyValue | None:
    """What the shim kept."""
    try:
        with open(os.path.join(bundle, "options.pb"), "rb") as file:
            url, _, value = file.read(1 << 20).partition(b"\n")
    except FileNotFoundError:
        return None
    return AnyValue(url.decode(), value)
