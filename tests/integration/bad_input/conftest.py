"""What a daemon holds, listed before and after a request that must fail."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from pycontainerd.client import Client
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError
from pycontainerd.testing.daemon import Daemon

SNAPSHOTTERS = ("overlayfs", "native")
# A whole blob whose digest was verified is nothing half-made: a collection takes it.
_WHOLE = ("root/io.containerd.content.v1.content/blobs", "root/io.containerd.metadata")


async def inventory(daemon: Daemon, namespace: str) -> dict[str, object]:
    """Everything by kind: what clients can list, and what is on the machine."""
    async with Client(daemon.address, namespace=namespace) as client:
        found: dict[str, object] = {
            "images": sorted(image.name for image in await client.images.list()),
            "containers": sorted(container.id for container in await client.containers.list()),
            "tasks": sorted(task.container_id for task in await client.tasks.list()),
            "leases": sorted(lease.id for lease in await client.leases.list()),
            "ingests": sorted(status.ref for status in await client.content.statuses()),
        }
        for name in SNAPSHOTTERS:
            found[name] = sorted([info.name async for info in client.snapshots(name).walk()])
    found["machine"] = daemon.leftovers()
    found["directories"] = [
        path for path in daemon.tree() if not path.startswith(_WHOLE) and not _shared(path, namespace)
    ]
    return found


def _shared(path: str, namespace: str) -> bool:
    """A directory that a namespace's first container makes for all that follow, or one that is going."""
    if "/snapshots/rm." in f"/{path}":  # removed, and deleted a moment later
        return True
    return path.endswith(f"/{namespace}") or path == "state/runc"


@contextlib.asynccontextmanager
async def leaves_nothing(daemon: Daemon, client: Client) -> AsyncIterator[Callable[[], ContainerdError]]:
    """The body must fail with an error of ours, and everything must be as it was; gives a function to get the error."""
    with contextlib.suppress(AlreadyExists):  # the namespace exists before, or its row would be a difference
        await client.namespaces.create(client.namespace, {})
    before = await inventory(daemon, client.namespace)
    caught: list[ContainerdError] = []
    try:
        yield lambda: caught[0]
    except ContainerdError as exc:
        caught.append(exc)
    else:
        pytest.fail("it was accepted")
    after = await inventory(daemon, client.namespace)
    for kind, items in before.items():
        assert after[kind] == items, kind
