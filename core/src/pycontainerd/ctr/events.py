"""``ctr events``."""

from __future__ import annotations

import json

import click

from pycontainerd.client import Client
from pycontainerd.contracts.types import AnyValue

from .context import execute
from .output import plain


@click.command()
@click.option("--output", "-o", type=click.Choice(("table", "json")), default="table", help="Lines of text or of JSON")
@click.argument("filters", nargs=-1)
def events(output: str, filters: tuple[str, ...]) -> None:
    """Print events of all namespaces as they come; FILTERS such as 'topic~=/images/' narrow them."""
    from .decode import decode

    async def work(client: Client) -> None:
        async for found in client.events.subscribe(filters):
            assert isinstance(found.event, AnyValue)
            body = decode(found.event)
            if output == "json":
                click.echo(json.dumps({**plain(found), "event": body}, ensure_ascii=False))
            else:
                when = f"{found.timestamp:%Y-%m-%d %H:%M:%S.%f} +0000 UTC"
                click.echo(f"{when} {found.namespace} {found.topic} {json.dumps(body, ensure_ascii=False)}")

    execute(work, namespaced=False)
