"""``ctr images``: records of images. Getting them in and out is in `images_transfer`."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import click

from pycontainerd.client import Client
from pycontainerd.client.launch import find_image
from pycontainerd.client.manifest import platforms as platforms_of
from pycontainerd.client.manifest import resolve
from pycontainerd.client.manifest import size as size_of
from pycontainerd.client.unpack import is_unpacked
from pycontainerd.client.unpack import unpack as unpack_image
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, NotFound
from pycontainerd.contracts.images import Image
from pycontainerd.contracts.platforms import parse

from .context import Group, execute, labels_text, parse_labels
from .output import human_size, output_option, plain, print_rows, quiet_option
from .prune import prune_command


@click.group(cls=Group)
def images() -> None:
    """Pull, import, list and remove images."""


images.add_command(prune_command("images"))


@images.add("list", "ls")
@quiet_option
@output_option
@click.argument("filters", nargs=-1)
def list_images(quiet: bool, output: str, filters: tuple[str, ...]) -> None:
    """List images."""

    async def work(client: Client) -> list[tuple[Image, str, Sequence[str]]]:
        found = await client.images.list(filters)
        return [(image, *(("", []) if quiet else await _described(client, image))) for image in found]

    found = execute(work)
    if quiet:
        click.echo("".join(f"{image.name}\n" for image, _, _ in found), nl=False)
        return
    rows = [
        (
            image.name,
            image.target.media_type,
            image.target.digest,
            size,
            ",".join(platforms) or "-",
            labels_text(image.labels.items(), "-"),
        )
        for image, size, platforms in found
    ]
    records = [{**plain(image), "size": size, "platforms": platforms} for image, size, platforms in found]
    print_rows(("REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS"), rows, records=records, output=output)


async def _described(client: Client, image: Image) -> tuple[str, Sequence[str]]:
    try:
        size = human_size(await size_of(client, image.target))
    except ContainerdError:  # one image that is not whole must not hide the others
        size = "-"
    try:
        return size, await platforms_of(client, image.target)
    except ContainerdError:
        return size, []


@images.add("delete", "del", "remove", "rm")
@click.option("--sync", is_flag=True, help="Wait until what they alone held is collected")
@click.argument("names", nargs=-1, required=True)
def delete(sync: bool, names: tuple[str, ...]) -> None:
    """Remove images by name."""

    async def work(client: Client) -> None:
        for number, name in enumerate(names, 1):
            try:
                await client.images.delete(name, sync=sync and number == len(names))
            except NotFound:
                await find_image(client, name)  # says it with a hint
                raise
            click.echo(name)

    execute(work)


@images.add("tag")
@click.option("--force", is_flag=True, help="Take the name away from the image that has it")
@click.option("--local", is_flag=True, hidden=True)
@click.option("--skip-reference-check", is_flag=True, hidden=True)
@click.argument("name")
@click.argument("new", nargs=-1, required=True)
def tag(force: bool, local: bool, skip_reference_check: bool, name: str, new: tuple[str, ...]) -> None:
    """Give an image more names."""
    del local, skip_reference_check  # names are taken as they are, and it needs no transfer

    async def work(client: Client) -> None:
        image = await find_image(client, name)
        for other in new:
            try:
                await client.images.create(attrs.evolve(image, name=other))
            except AlreadyExists:
                if not force:
                    raise
                await client.images.delete(other)
                await client.images.create(attrs.evolve(image, name=other))
            click.echo(other)

    execute(work)


@images.add("label")
@click.option("--replace-all", "-r", is_flag=True, help="Drop the labels that are not given")
@click.argument("name")
@click.argument("labels", nargs=-1)
def label(replace_all: bool, name: str, labels: tuple[str, ...]) -> None:
    """Set labels KEY=VALUE; KEY= clears one."""
    given = parse_labels(labels)
    paths = ["labels"] if replace_all else [f"labels.{key}" for key in given]

    async def work(client: Client) -> Image:
        image = await find_image(client, name)
        return await client.images.update(attrs.evolve(image, labels=given), paths)

    click.echo(labels_text(execute(work).labels.items()))


@images.add("check")
@quiet_option
@output_option
@click.option("--snapshotter", envvar="CONTAINERD_SNAPSHOTTER", default="")
@click.argument("filters", nargs=-1)
def check(quiet: bool, output: str, snapshotter: str, filters: tuple[str, ...]) -> None:
    """Say for each image whether all of it is here, and unpacked."""

    async def work(client: Client) -> list[dict[str, object]]:
        return [await _checked(client, image, snapshotter) for image in await client.images.list(filters)]

    found = execute(work)
    if quiet:
        ready = [item for item in found if str(item["status"]).startswith("complete") and item["unpacked"]]
        click.echo("".join(f"{item['name']}\n" for item in ready), nl=False)
        return
    fields = ("name", "type", "digest", "status", "size", "unpacked")
    rows = [[str(item[key]) if key != "unpacked" else str(item[key]).lower() for key in fields] for item in found]
    print_rows(("REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED"), rows, records=found, output=output)


async def _checked(client: Client, image: Image, snapshotter: str) -> dict[str, object]:
    target = image.target
    record: dict[str, object] = {"name": image.name, "type": target.media_type, "digest": target.digest}
    try:
        resolved = await resolve(client, image)
    except ContainerdError as exc:
        return {**record, "status": f"unavailable ({exc.message})", "size": "-", "unpacked": False}
    here = {info.digest async for info in client.content.walk()}
    wanted = resolved.manifest.children
    present = [child for child in wanted if child.digest in here]
    state = "complete" if len(present) == len(wanted) else "incomplete"
    sizes = [human_size(sum(child.size for child in some)) for some in (present, wanted)]
    unpacked = await is_unpacked(client, resolved, snapshotter)
    return {
        **record,
        "status": f"{state} ({len(present)}/{len(wanted)})",
        "size": "/".join(sizes),
        "unpacked": unpacked,
    }


@images.add("unpack")
@click.option("--snapshotter", envvar="CONTAINERD_SNAPSHOTTER", default="")
@click.option("--platform", "platform_", default="")
@click.option("--sync-fs", is_flag=True)
@click.argument("name")
def unpack(snapshotter: str, platform_: str, sync_fs: bool, name: str) -> None:
    """Unpack an image into snapshots."""

    async def work(client: Client) -> str:
        image = await find_image(client, name)
        platform = parse(platform_) if platform_ else None
        return (await unpack_image(client, image, snapshotter=snapshotter, platform=platform, sync=sync_fs)).chain_id

    click.echo(execute(work))


@images.add("usage")
@click.option("--snapshotter", envvar="CONTAINERD_SNAPSHOTTER", default="")
@output_option
@click.argument("name")
def usage(snapshotter: str, output: str, name: str) -> None:
    """Show what the snapshots of an image take."""

    async def work(client: Client) -> list[dict[str, object]]:
        store, rows = client.snapshots(snapshotter), []
        key = (await resolve(client, await find_image(client, name))).chain_id
        while key:
            taken = await store.usage(key)
            rows.append({"key": key, "size": taken.size, "inodes": taken.inodes})
            key = (await store.stat(key)).parent
        return rows

    found = execute(work)
    rows = [(item["key"], human_size(float(str(item["size"]))), item["inodes"]) for item in found]
    print_rows(("KEY", "SIZE", "INODES"), rows, records=found, output=output)


from . import images_transfer, images_verify  # noqa: E402, F401 - they register their commands in this group
