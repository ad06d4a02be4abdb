"""``ctr gc``: collect now, look what would go, ask why something stays; and ``ctr df``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pycontainerd.client import Client
from pycontainerd.contracts.gc import Collected, DiskUsage, Item, Step

from .context import Group, execute
from .output import human_size, output_option, print_data, print_rows


@click.group(cls=Group)
def gc() -> None:
    """Collect garbage, and say what keeps what."""


@gc.add("run")
@output_option
def run_collection(output: str) -> None:
    """Collect now, in all namespaces, and wait for the end."""

    async def work(client: Client) -> Collected:
        return await client.gc.collect()

    done = execute(work)
    if output != "table":
        print_data(done, output)
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(done.removed.items())) or "nothing"
    seconds = done.mark + done.transactions + done.removal
    click.echo(f"removed {counts}; {human_size(done.bytes)} of content freed in {seconds:.3f} s")


@gc.add("plan")
@click.option("--all-namespaces", "-A", is_flag=True, help="Of every namespace")
@output_option
def show_plan(all_namespaces: bool, output: str) -> None:
    """Show what a collection would take now."""

    async def work(client: Client) -> Sequence[Item]:
        return await client.gc.plan(all_namespaces=all_namespaces)

    print_items(execute(work), output)


@gc.add("why")
@output_option
@click.argument("key")
def explain(output: str, key: str) -> None:
    """Show the shortest way from a root to KEY: a digest, an image's name, KIND/KEY.

    The exit status is 3 where there is no such thing, and 0 where nothing keeps it.
    """

    async def work(client: Client) -> Sequence[Step]:
        return await client.gc.why(key)

    steps = execute(work)
    if output != "table":
        print_data(steps, output)
        return
    if not steps:
        click.echo(f"nothing keeps {key}: the next collection takes it")
    for depth, step in enumerate(steps):
        arrow = "  " * depth + ("└ " if depth else "")
        click.echo(f"{arrow}{step.node.kind}/{step.node.key}  ({step.by})")


@gc.add("policy")
@click.option("--dry-run", is_flag=True, help="Only show what would go")
@output_option
def apply_policy(dry_run: bool, output: str) -> None:
    """Apply the rules of the daemon's configuration now, in the namespaces they are for."""

    async def work(client: Client) -> Sequence[Item]:
        return await client.gc.prune("policy", dry_run=dry_run)

    print_items(execute(work), output)


@click.command("df")
@click.option("--all-namespaces", "-A", is_flag=True, help="Of every namespace")
@output_option
def df(all_namespaces: bool, output: str) -> None:
    """Show whose the bytes on disk are.

    UNIQUE would be free without the owner; SHARED others own too. An orphan is what the next collection takes.
    """

    async def work(client: Client) -> DiskUsage:
        return await client.gc.usage(all_namespaces=all_namespaces)

    found = execute(work)
    rows = [
        (
            one.owner,
            one.name or "-",
            *((one.namespace,) if all_namespaces else ()),
            human_size(one.unique),
            human_size(one.shared),
        )
        for one in found.shares
    ]
    header = ("OWNER", "NAME", *(("NAMESPACE",) if all_namespaces else ()), "UNIQUE", "SHARED")
    print_rows(header, rows, records=found, output=output, padding=2)
    if output == "table":
        blobs, snapshots = human_size(found.blobs), human_size(found.snapshots)
        click.echo(f"total {human_size(found.total)}: {blobs} of content, {snapshots} of snapshots")


def print_items(items: Sequence[Item], output: str) -> None:
    """What goes, or would, with its bytes and why; and the sum."""
    rows = [
        (one.node.kind, one.node.key, human_size(one.bytes) if one.bytes >= 0 else "-", one.reason) for one in items
    ]
    print_rows(("KIND", "KEY", "SIZE", "REASON"), rows, records=items, output=output, padding=2)
    if output == "table":
        total = sum(max(one.bytes, 0) for one in items)
        click.echo(f"{len(items)} in all, {human_size(total)}")
