"""``ctr snapshots``. Saving and restoring them is in `snapshots_saved`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import click

from pycontainerd.client import Client
from pycontainerd.client.snapshots import Snapshots
from pycontainerd.contracts import media_types
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.snapshots import SnapshotInfo, Usage
from pycontainerd.contracts.types import Mount, now

from .context import Group, execute, labels_text, parse_labels
from .output import human_size, output_option, print_data, print_json, print_rows
from .prune import prune_command


@click.group(cls=Group)
@click.option(
    "--snapshotter",
    envvar="CONTAINERD_SNAPSHOTTER",
    default="",
    help="Default: overlayfs [env: CONTAINERD_SNAPSHOTTER]",
)
@click.pass_context
def snapshots(ctx: click.Context, snapshotter: str) -> None:
    """Look into snapshotters."""
    ctx.meta["snapshotter"] = snapshotter


snapshots.add_command(prune_command("snapshots"))


def _of(client: Client) -> Snapshots:
    return client.snapshots(click.get_current_context().meta["snapshotter"])


@snapshots.add("list", "ls")
@output_option
@click.argument("filters", nargs=-1)
def list_snapshots(output: str, filters: tuple[str, ...]) -> None:
    """List snapshots."""

    async def work(client: Client) -> list[SnapshotInfo]:
        return [item async for item in _of(client).walk(filters)]

    found = execute(work)
    rows = [(item.name, item.parent, item.kind.name.capitalize()) for item in found]
    print_rows(("KEY", "PARENT", "KIND"), rows, records=found, output=output)


@snapshots.add("info")
@click.option("--output", "-o", type=click.Choice(("json", "yaml")), default="json", show_default=True)
@click.argument("key")
def info(output: str, key: str) -> None:
    """Show a snapshot's record."""

    async def work(client: Client) -> SnapshotInfo:
        return await _of(client).stat(key)

    print_data(execute(work), output)


@snapshots.add("usage")
@click.option("-b", "in_bytes", is_flag=True, help="Sizes in bytes")
@output_option
@click.argument("keys", nargs=-1)
def usage(in_bytes: bool, output: str, keys: tuple[str, ...]) -> None:
    """Show what snapshots take (all, or those named)."""

    async def work(client: Client) -> dict[str, Usage]:
        store = _of(client)
        wanted = keys or [item.name async for item in store.walk()]
        return {key: await store.usage(key) for key in wanted}

    found = execute(work)
    rows = [(key, item.size if in_bytes else human_size(item.size), item.inodes) for key, item in found.items()]
    records = [{"key": key, "size": item.size, "inodes": item.inodes} for key, item in found.items()]
    print_rows(("KEY", "SIZE", "INODES"), rows, records=records, output=output)


def _print_mounts(found: Sequence[Mount], target: str, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif target:
        for mount in found:
            options = f" -o {','.join(mount.options)}" if mount.options else ""
            click.echo(f"mount -t {mount.type} {mount.source} {target}{options}")


def _making(verb: str, help_text: str) -> None:
    @snapshots.add(verb, help=help_text)
    @click.option("--target", "-t", default="", help="Print how to mount it there")
    @click.option("--mounts", "as_json", is_flag=True, help="Print its mounts as JSON")
    @click.option("--label", "labels", multiple=True)
    @click.argument("key")
    @click.argument("parent", default="")
    def make(target: str, as_json: bool, labels: tuple[str, ...], key: str, parent: str) -> None:
        async def work(client: Client) -> list[Mount]:
            # Held by nothing else, it must be kept from collection, as the Go tool keeps it.
            kept = {"containerd.io/gc.root": now().strftime("%Y-%m-%dT%H:%M:%SZ"), **parse_labels(labels)}
            found: list[Mount] = await getattr(_of(client), verb)(key, parent, kept)
            return found

        _print_mounts(execute(work), target, as_json)


_making("prepare", "Make a writable snapshot on a committed one (or on nothing).")
_making("view", "Make a read-only snapshot on a committed one.")


@snapshots.add("mounts", "m", "mount")
@click.argument("target")
@click.argument("key")
def mounts(target: str, key: str) -> None:
    """Print how to mount a snapshot at TARGET."""

    async def work(client: Client) -> list[Mount]:
        return await _of(client).mounts(key)

    _print_mounts(execute(work), target, as_json=False)


@snapshots.add("commit")
@click.argument("name")
@click.argument("key")
def commit(name: str, key: str) -> None:
    """Turn the active snapshot KEY into the committed one NAME."""

    async def work(client: Client) -> None:
        await _of(client).commit(name, key, {"containerd.io/gc.root": now().strftime("%Y-%m-%dT%H:%M:%SZ")})

    execute(work)


@snapshots.add("delete", "del", "remove", "rm")
@click.argument("keys", nargs=-1, required=True)
def delete(keys: tuple[str, ...]) -> None:
    """Remove snapshots."""

    async def work(client: Client) -> None:
        for key in keys:
            await _of(client).remove(key)

    execute(work)


@snapshots.add("label")
@click.argument("key")
@click.argument("labels", nargs=-1, required=True)
def label(key: str, labels: tuple[str, ...]) -> None:
    """Set labels KEY=VALUE; KEY= clears one."""
    given = parse_labels(labels)

    async def work(client: Client) -> SnapshotInfo:
        return await _of(client).update(key, given, [f"labels.{name}" for name in given])

    click.echo(labels_text(execute(work).labels.items()))


@snapshots.add("tree")
@output_option
def tree(output: str) -> None:
    """Show snapshots below their parents."""

    async def work(client: Client) -> list[SnapshotInfo]:
        return [item async for item in _of(client).walk()]

    found = execute(work)
    if output != "table":
        print_rows((), (), records=found, output=output)
        return
    children: dict[str, list[str]] = {}
    names = {item.name for item in found}
    for item in found:
        children.setdefault(item.parent if item.parent in names else "", []).append(item.name)
    pending = [(name, 0) for name in reversed(children.get("", []))]
    while pending:
        name, depth = pending.pop()
        click.echo(f"{'  ' * depth}{chr(92) + '_ ' if depth else ''}{name}")
        pending += [(child, depth + 1) for child in reversed(children.get(name, []))]


@snapshots.add("diff")
@click.option("--media-type", default=media_types.OCI_LAYER_GZIP, show_default=True)
@click.option("--ref", default="", help="Name of the ingest")
@click.option("--keep", is_flag=True, help="Keep the layer in the content store and print its digest")
@click.option("--label", "labels", multiple=True)
@click.argument("key")
@click.argument("other", default="")
def diff(media_type: str, ref: str, keep: bool, labels: tuple[str, ...], key: str, other: str) -> None:
    """Write the layer that turns a snapshot's parent into it (or KEY into OTHER) to standard output."""

    async def work(client: Client) -> None:
        from pycontainerd.client.saved import readable

        async with client.lease() as held:
            lower_key, upper_key = (key, other) if other else ((await _of(held).stat(key)).parent, key)
            async with contextlib.AsyncExitStack() as views:
                lower = await views.enter_async_context(readable(_of(held), lower_key)) if lower_key else []
                upper = await views.enter_async_context(readable(_of(held), upper_key))
                given = parse_labels(labels)
                kept = {"containerd.io/gc.root": now().strftime("%Y-%m-%dT%H:%M:%SZ"), **given} if keep else given
                found = await held.diff.compare(lower, upper, media_type=media_type, ref=ref, labels=kept)
            if keep:
                click.echo(found.digest)
                return
            async for data in held.content.read(found.digest):
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    execute(work)


@snapshots.add("unpack")
@click.option("--sync-fs", is_flag=True, help="Sync the file system before it counts as done")
@click.argument("digest")
def unpack(sync_fs: bool, digest: str) -> None:
    """Unpack the image whose manifest or index is DIGEST."""
    snapshotter = click.get_current_context().meta["snapshotter"]

    async def work(client: Client) -> str:
        from pycontainerd.client.unpack import unpack as unpack_image

        for image in await client.images.list():
            if image.target.digest == digest:
                return (await unpack_image(client, image, snapshotter=snapshotter, sync=sync_fs)).chain_id
        raise NotFound(f"no image has the target {digest}")

    click.echo(f"unpacked {execute(work)}")


from . import snapshots_saved  # noqa: E402, F401 - registers its commands in this group
