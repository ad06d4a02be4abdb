"""``ctr content prune references``: let go of layers that are unpacked, as the Go tool does."""

from __future__ import annotations

import re

import click

from pycontainerd.client import Client
from pycontainerd.contracts.gclabels import CONTENT

from .context import execute

# Layers as they are labelled now, and as they were: by number, of which 0 was the config.
_LAYER = re.compile(re.escape(CONTENT) + r"\.(?:l\..*|(?!0\Z)\d+)\Z", re.ASCII)


def is_layer_label(label: str) -> bool:
    """Whether a manifest's ``label`` keeps a layer."""
    return bool(_LAYER.match(label))


@click.command("references")
@click.option("--async", "later", is_flag=True, help="Do not wait for the collection")
@click.option("--dry", "--dry-run", "dry_run", is_flag=True, help="Only show what would be taken away")
def references(later: bool, dry_run: bool) -> None:
    """Take away the labels that keep layers: what is unpacked needs its blobs only to be pushed or exported."""

    async def work(client: Client) -> list[tuple[str, str]]:
        found = []
        for info in [item async for item in client.content.walk()]:
            labels = [label for label in info.labels if is_layer_label(label)]
            found += [(info.digest, label) for label in labels]
            if labels and not dry_run:
                rest = {key: value for key, value in info.labels.items() if key not in labels}
                await client.content.update(info.digest, rest, [f"labels.{label}" for label in labels])
        if not dry_run:  # the end of a lease is the way to ask any daemon for a collection
            lease = await client.leases.create()
            await client.leases.delete(lease.id, sync=not later)
        return found

    for digest, label in execute(work):
        click.echo(f"{digest} {label}")
