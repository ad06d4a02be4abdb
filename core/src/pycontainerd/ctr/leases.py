"""``ctr leases``."""

from __future__ import annotations

import click

from pycontainerd.client import Client
from pycontainerd.client.leases import EXPIRE
from pycontainerd.contracts.leases import Lease
from pycontainerd.contracts.types import now

from .context import Group, duration, execute, labels_text, parse_labels
from .output import output_option, print_rows, quiet_option, rfc3339
from .prune import prune_command


@click.group(cls=Group)
def leases() -> None:
    """Keep things from collection."""


leases.add_command(prune_command("leases"))


@leases.add("list", "ls")
@quiet_option
@output_option
@click.argument("filters", nargs=-1)
def list_leases(quiet: bool, output: str, filters: tuple[str, ...]) -> None:
    """List leases."""

    async def work(client: Client) -> list[Lease]:
        return await client.leases.list(filters)

    found = execute(work)
    if quiet:
        click.echo("".join(f"{item.id}\n" for item in found), nl=False)
        return
    rows = [(item.id, rfc3339(item.created_at), labels_text(item.labels.items(), "-")) for item in found]
    print_rows(("ID", "CREATED AT", "LABELS"), rows, records=found, output=output)


@leases.add("create")
@click.option("--id", "id_", default="", help="Default: a generated one")
@click.option("--expires", "-x", default="24h", show_default=True, help="Drop it after this long (0: never)")
@click.argument("labels", nargs=-1)
def create(id_: str, expires: str, labels: tuple[str, ...]) -> None:
    """Create a lease with labels KEY=VALUE and print its id."""
    wanted, after = parse_labels(labels), duration(expires)
    if after:
        wanted[EXPIRE] = rfc3339(now() + after)

    async def work(client: Client) -> str:
        return (await client.leases.create(id_, wanted)).id

    click.echo(execute(work))


@leases.add("delete", "del", "remove", "rm")
@click.option("--sync", is_flag=True, help="Wait until what it alone held is collected")
@click.argument("ids", nargs=-1, required=True)
def delete(sync: bool, ids: tuple[str, ...]) -> None:
    """Delete leases."""

    async def work(client: Client) -> None:
        for number, id_ in enumerate(ids, 1):
            await client.leases.delete(id_, sync=sync and number == len(ids))
            click.echo(id_)

    execute(work)


@leases.add("resources")
@output_option
@click.argument("id_", metavar="ID")
def resources(output: str, id_: str) -> None:
    """List what a lease holds."""

    async def work(client: Client) -> object:
        return await client.leases.resources(id_)

    found = execute(work)
    rows = [(item.type, item.id) for item in found]  # type: ignore[attr-defined]
    print_rows(("TYPE", "ID"), rows, records=found, output=output)
