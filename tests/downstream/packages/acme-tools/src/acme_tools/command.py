"""``ctr acme``."""

from __future__ import annotations

import click

from pycontainerd.client import Client
from pycontainerd.contracts.hooks import hook
from pycontainerd.ctr.context import execute


@click.group()
def acme() -> None:
    """What ACME's people want to know."""


@acme.command()
def images() -> None:
    """Name the image of each container."""

    async def work(client: Client) -> list[str]:
        return [f"{one.id} {one.image}" for one in await client.containers.list()]

    for line in execute(work):
        click.echo(line)


@hook
def ctr_command() -> click.Command:
    return acme
