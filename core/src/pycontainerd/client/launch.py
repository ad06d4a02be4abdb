"""Containers from images: a snapshot to write on, a spec from the image's config, and the record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from pycontainerd.contracts.containers import Container
from pycontainerd.contracts.errors import FailedPrecondition, NotFound, PermissionDenied
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.service import validate_identifier
from pycontainerd.contracts.types import EMPTY, AnyValue, Mount, Platform
from pycontainerd.oci import Spec, default_spec, edits, to_any
from pycontainerd.oci.image import STOP_SIGNAL_LABEL, ImageConfig, edits_for
from pycontainerd.oci.users import Ids, lookup
from pycontainerd.sys.mount import mounted

from .manifest import Resolved, resolve
from .unpack import is_unpacked, unpack

if TYPE_CHECKING:
    from .client import Client

DEFAULT_RUNTIME = "io.containerd.runc.v2"
_MAX_LABEL = 4096  # bytes of key and value together, the limit of containerd


@attrs.frozen
class Plan:
    """What a container shall be. ``edits`` change the spec after the image's config has."""

    id: str
    args: Sequence[str] = ()
    user: str = ""
    edits: Sequence[edits.Edit] = ()
    runtime: str = DEFAULT_RUNTIME
    runtime_options: AnyValue | None = None
    snapshotter: str = ""
    snapshot_labels: Mapping[str, str] = EMPTY
    labels: Mapping[str, str] = EMPTY
    platform: Platform | None = None
    spec: Spec | None = None  # the whole spec instead of one made from the image
    sandbox: str = ""


async def find_image(client: Client, name: str) -> Image:
    """The image of that name.

    :raises NotFound: there is none; the hint says which name would be found.
    """
    try:
        return await client.images.get(name)
    except NotFound as exc:
        raise NotFound(
            f"image {name!r}: not found in namespace {client.namespace!r}", hint=await _hint(client, name)
        ) from exc


async def _hint(client: Client, name: str) -> str:
    first, slash, _ = name.partition("/")
    # Before the first slash is a host, if it looks like one; without a slash a colon begins a tag.
    full = name if slash and ("." in first or ":" in first or first == "localhost") else ""
    full = full or (f"docker.io/{name}" if slash else f"docker.io/library/{name}")
    last = full.rpartition("/")[2]
    full = full if ":" in last or "@" in last else f"{full}:latest"
    known = {item.name for item in await client.images.list()}
    if full in known:
        return f"names are taken as they are: did you mean {full}?"
    for namespace in await client.namespaces.list():
        if namespace != client.namespace:
            there = {item.name for item in await client.in_namespace(namespace).images.list()}
            if name in there:
                return f"it is in namespace {namespace}: use -n {namespace}"
    return f"`ctr images pull {full}` gets it, `ctr images ls` lists what is there"


async def create_container(client: Client, image_name: str, plan: Plan) -> Container:
    """Create a container from an image, which is unpacked if it is not yet. When this fails, nothing is left of it.

    :raises AlreadyExists: the id is taken.
    :raises NotFound: no such image.
    """
    validate_identifier(plan.id, "container id")
    image = await find_image(client, image_name)
    async with client.lease() as held:
        resolved = await _unpacked(held, image, plan)
        snapshots = held.snapshots(plan.snapshotter)
        mounts = await snapshots.prepare(plan.id, resolved.chain_id, plan.snapshot_labels)
        try:
            spec = plan.spec or await _spec(held, resolved.config, plan, mounts)
            return await held.containers.create(
                Container(
                    id=plan.id,
                    labels={**image_labels(resolved.config), **plan.labels},
                    image=image.name,
                    runtime=plan.runtime,
                    runtime_options=plan.runtime_options,
                    spec=to_any(spec),
                    snapshotter=snapshots.name,
                    snapshot_key=plan.id,
                    sandbox=plan.sandbox,
                )
            )
        except BaseException:
            await snapshots.remove(plan.id)
            raise


async def create_rootfs_container(client: Client, path: str, plan: Plan) -> Container:
    """Create a container on a directory instead of an image."""
    validate_identifier(plan.id, "container id")
    spec = plan.spec
    if spec is None:
        ids = await asyncio.to_thread(lookup, path, plan.user)
        spec = default_spec(client.namespace, plan.id)
        base = [edits.default_env, edits.default_devices, edits.rootfs(path)]
        command = [edits.args(plan.args)] if plan.args else []
        edits.compose(spec, [*base, *command, _user(ids), *plan.edits])
    return await client.containers.create(
        Container(
            id=plan.id,
            labels=plan.labels,
            runtime=plan.runtime,
            runtime_options=plan.runtime_options,
            spec=to_any(spec),
            sandbox=plan.sandbox,
        )
    )


async def _unpacked(client: Client, image: Image, plan: Plan) -> Resolved:
    resolved = await resolve(client, image, plan.platform)
    if not await is_unpacked(client, resolved, plan.snapshotter):
        await unpack(client, image, snapshotter=plan.snapshotter, platform=plan.platform)
    return resolved


async def _spec(client: Client, config: ImageConfig, plan: Plan, mounts: Sequence[Mount]) -> Spec:
    spec = default_spec(client.namespace, plan.id)
    ids = await _ids(plan.user or config.user, mounts)
    return edits.compose(spec, [edits.default_devices, *edits_for(config, plan.args), _user(ids), *plan.edits])


def _user(ids: Ids) -> edits.Edit:
    return edits.user(ids.uid, ids.gid, ids.additional)


async def _ids(user: str, mounts: Sequence[Mount]) -> Ids:
    """The ids of ``user`` ("" is root), looked up in the snapshot that ``mounts`` give."""

    def look() -> Ids:
        with mounted(mounts, read_only_view=True) as root:
            return lookup(root, user)

    try:
        return await asyncio.to_thread(look)
    except PermissionDenied as exc:
        # Only root may mount. Without it root and plain numbers still have an answer, names have none.
        if not user:
            return Ids()
        uid, _, gid = user.partition(":")
        if uid.isdigit() and (gid or "0").isdigit():
            return Ids(int(uid), int(gid or 0))
        raise FailedPrecondition(
            f"cannot look up user {user!r} in the image: {exc.message}", hint="run as root, or give numbers"
        ) from exc


def image_labels(config: ImageConfig) -> dict[str, str]:
    """The labels that a container gets from its image: the image's own, and the signal that stops it."""
    own = {key: value for key, value in config.labels.items() if len(key) + len(value) <= _MAX_LABEL}
    return {**own, STOP_SIGNAL_LABEL: config.stop_signal or "SIGTERM"}


async def delete_container(client: Client, id: str, *, keep_snapshot: bool = False) -> None:  # noqa: A002
    """Delete a container and its snapshot.

    :raises FailedPrecondition: it has a task (a running one has to be stopped first, an ended one deleted).
    """
    container = await client.containers.get(id)
    try:
        task = await client.tasks.get(id)
    except NotFound:
        pass
    else:
        raise FailedPrecondition(
            f"cannot delete container {id}: its task is {task.status.name.lower()}", hint=f"`ctr containers stop {id}`"
        )
    if container.snapshot_key and not keep_snapshot:
        try:
            await client.snapshots(container.snapshotter).remove(container.snapshot_key)
        except NotFound:
            pass  # a try before this one got so far
    await client.containers.delete(id)
