"""``ctr images|containers|snapshots|content|leases prune``: one command, for each kind with what fits it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import click

from pycontainerd.client import Client
from pycontainerd.contracts.errors import NotImplemented
from pycontainerd.contracts.gc import CONTENT, IMAGES, Item, Node

from .context import execute, parse_duration
from .gc import print_items
from .output import output_option
from .references import references

_HELP = {
    "images": "Remove images that no container uses, and what they alone kept.\n\nWithout --all only those that have no tag.",
    "containers": "Remove containers that have no task, with their snapshots.",
    "snapshots": "Remove snapshots that nothing but their own label keeps.",
    "content": "Remove blobs that nothing but their own label keeps.",
    "leases": "Remove leases that never expire, and what they alone kept.\n\nWith --all also those that have not expired yet.",
}
_DAYS = re.compile(r"(\d+)d(.*)\Z")


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    found = _DAYS.match(text)
    return 86400.0 * int(found[1]) + (parse_duration(found[2]) if found[2] else 0) if found else parse_duration(text)


def prune_command(kind: str) -> click.Command:
    """The command ``prune`` for ``kind``, to be added to its group."""

    @output_option
    @click.option("--dry-run", is_flag=True, help="Only show what would go")
    @click.option(
        "--older-than", "--unused-for", "age", default="0s", callback=_seconds, metavar="DURATION",
        help="Only what was not used for so long (12h, 30d)",
    )  # fmt: skip
    @click.option("--filter", "-f", "filters", multiple=True, help="Only what matches (may be repeated: any of them)")
    def prune(filters: Sequence[str], age: float, dry_run: bool, output: str, *, everything: bool = False) -> None:
        if click.get_current_context().invoked_subcommand:
            return
        snapshotter = click.get_current_context().meta.get("snapshotter", "") if kind == "snapshots" else ""

        async def work(client: Client) -> Sequence[Item]:
            try:
                return await client.gc.prune(
                    kind,
                    filters,
                    unused_for=age,
                    everything=everything,
                    snapshotter=snapshotter,
                    dry_run=dry_run,
                )
            except NotImplemented:
                if kind != IMAGES or age:
                    raise
                return await _prune_images_here(client, filters, everything=everything, dry_run=dry_run)

        print_items(execute(work), output)

    function: Callable[..., None] = prune
    if kind in ("images", "leases"):
        function = click.option("--all", "-a", "everything", is_flag=True, help="Not only those said above")(function)
    if kind != CONTENT:
        return click.command("prune", help=_HELP[kind])(function)
    group = click.group("prune", invoke_without_command=True, help=_HELP[kind])(function)
    group.add_command(references)
    return group


async def _prune_images_here(
    client: Client, filters: Sequence[str], *, everything: bool, dry_run: bool
) -> Sequence[Item]:
    """As the Go tool does, for daemons that do not prune: images whose name no container mentions, and only all of them."""
    if not everything:
        return []
    used = {container.image for container in await client.containers.list()}
    unused = [image for image in await client.images.list(filters) if image.name not in used]
    for number, image in enumerate(unused, 1):
        if not dry_run:
            await client.images.delete(image.name, sync=number == len(unused))
    return [Item(Node(IMAGES, client.namespace, image.name), -1, "no container mentions it") for image in unused]
