"""``ctr namespaces``."""

from __future__ import annotations

import click

from pycontainerd.client import Client
from pycontainerd.contracts.errors import InvalidArgument

from .context import Group, execute, labels_text, parse_labels
from .output import output_option, print_rows, quiet_option


@click.group(cls=Group)
def namespaces() -> None:
    """Manage namespaces."""


@namespaces.add("list", "ls")
@quiet_option
@output_option
def list_namespaces(quiet: bool, output: str) -> None:
    """List namespaces."""

    async def work(client: Client) -> dict[str, dict[str, str]]:
        return await client.namespaces.list()

    found = execute(work)
    if quiet:
        click.echo("".join(f"{name}\n" for name in found), nl=False)
        return
    rows = [(name, labels_text(labels.items())) for name, labels in found.items()]
    records = [{"name": name, "labels": labels} for name, labels in found.items()]
    print_rows(("NAME", "LABELS"), rows, records=records, output=output)


@namespaces.add("create", "c")
@click.argument("name")
@click.argument("labels", nargs=-1)
def create(name: str, labels: tuple[str, ...]) -> None:
    """Create a namespace, with labels KEY=VALUE."""

    async def work(client: Client) -> None:
        await client.namespaces.create(name, parse_labels(labels))

    execute(work)


@namespaces.add("label")
@click.argument("name")
@click.argument("labels", nargs=-1, required=True)
def label(name: str, labels: tuple[str, ...]) -> None:
    """Set labels KEY=VALUE; KEY= clears one."""
    given = parse_labels(labels)

    async def work(client: Client) -> None:
        await client.namespaces.set_labels(name, given, [f"labels.{key}" for key in given])

    execute(work)


@namespaces.add("remove", "rm")
@click.argument("names", nargs=-1, required=True)
@click.option("--cgroup", "-c", is_flag=True, hidden=True)
def remove(names: tuple[str, ...], cgroup: bool) -> None:
    """Remove namespaces; they must be empty."""
    if cgroup:
        raise InvalidArgument("--cgroup is not supported: the runtime removes the cgroups of its containers")

    async def work(client: Client) -> None:
        for name in names:
            await client.namespaces.delete(name)
            click.echo(name)

    execute(work)
