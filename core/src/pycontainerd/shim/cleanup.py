"""After a shim has died: remove what it left of its container."""

from __future__ import annotations

import os
import time

from pycontainerd.contracts.errors import ContainerdError, NotFound
from pycontainerd.sys.mountcalls import unmount_recursive

from . import log, loop
from .bundle import remembered_options
from .driver import Driver
from .messages import DELETE_RESPONSE, stamp
from .nursery import load_driver
from .processes import read_pid
from .reaper import Reaper

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
    try:
        pid = read_pid(os.path.join(bundle, "init.pid"))
    except ContainerdError:
        pid = 0
    return DELETE_RESPONSE.encode({"pid": pid, "exit_status": _KILLED, "exited_at": stamp(time.time_ns())})


async def _delete(driver: Driver, namespace: str, id: str, bundle: str) -> None:  # noqa: A002
    reaper = Reaper(lambda _pid, _exit: None)
    reaper.install()
    runtime = driver.runtime(reaper, namespace=namespace, id=id, bundle=bundle, options=remembered_options(bundle))
    await runtime.delete(force=True)
