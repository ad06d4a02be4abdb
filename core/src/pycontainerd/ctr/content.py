"""``ctr content``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import click

from pycontainerd.client import Client
from pycontainerd.contracts.content import ContentInfo, IngestStatus

from .context import Group, execute, labels_text, parse_labels
from .output import age, decimal_size, output_option, print_rows, quiet_option
from .prune import prune_command


@click.group(cls=Group)
def content() -> None:
    """Look into the content store."""


content.add_command(prune_command("content"))


@content.add("list", "ls")
@quiet_option
@output_option
@click.argument("filters", nargs=-1)
def list_content(quiet: bool, output: str, filters: tuple[str, ...]) -> None:
    """List blobs."""

    async def work(client: Client) -> list[ContentInfo]:
        return [item async for item in client.content.walk(filters)]

    found = execute(work)
    if quiet:
        click.echo("".join(f"{item.digest}\n" for item in found), nl=False)
        return
    rows = [
        (item.digest, decimal_size(item.size), age(item.created_at), labels_text(item.labels.items(), "-"))
        for item in found
    ]
    print_rows(("DIGEST", "SIZE", "AGE", "LABELS"), rows, records=found, output=output, padding=4)


@content.add("get")
@click.argument("digest")
def get(digest: str) -> None:
    """Write a blob to standard output."""

    async def work(client: Client) -> None:
        async for data in client.content.read(digest):
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    execute(work)


@content.add("ingest")
@click.option("--expected-size", type=int, default=0, help="Refuse another size")
@click.option("--expected-digest", default="", help="Refuse another digest")
@click.argument("ref")
def ingest(expected_size: int, expected_digest: str, ref: str) -> None:
    """Store standard input as a blob; REF names the ingest, so that a broken one can go on."""

    async def source() -> AsyncIterator[bytes]:
        while data := await asyncio.to_thread(sys.stdin.buffer.read, 1 << 20):
            yield data

    async def work(client: Client) -> str:
        return await client.content.write(ref, source(), total=expected_size, expected=expected_digest)

    click.echo(execute(work))


@content.add("active", "act")
@output_option
def active(output: str) -> None:
    """List ingests under way."""

    async def work(client: Client) -> list[IngestStatus]:
        return await client.content.statuses()

    found = execute(work)
    rows = [(item.ref, decimal_size(item.offset), age(item.started_at)) for item in found]
    print_rows(("REF", "SIZE", "AGE"), rows, records=found, output=output, padding=4)


@content.add("abort")
@click.argument("refs", nargs=-1, required=True)
def abort(refs: tuple[str, ...]) -> None:
    """Throw ingests away."""

    async def work(client: Client) -> None:
        for ref in refs:
            await client.content.abort(ref)

    execute(work)


@content.add("delete", "del", "remove", "rm")
@click.argument("digests", nargs=-1, required=True)
def delete(digests: tuple[str, ...]) -> None:
    """Delete blobs."""

    async def work(client: Client) -> None:
        for digest in digests:
            await client.content.delete(digest)
            click.echo(digest)

    execute(work)


@content.add("label")
@click.argument("digest")
@click.argument("labels", nargs=-1, required=True)
def label(digest: str, labels: tuple[str, ...]) -> None:
    """Set labels KEY=VALUE; KEY= clears one."""
    given = parse_labels(labels)

    async def work(client: Client) -> ContentInfo:
        return await client.content.update(digest, given, [f"labels.{key}" for key in given])

    click.echo(labels_text(execute(work).labels.items()))


@content.add("fetch")
@click.argument("reference")
@click.option("--plain-http", is_flag=True)
@click.option("--user", "-u", default="")
@click.option("--platform", "platforms", multiple=True)
@click.option("--all-platforms", is_flag=True)
@click.option("--label", "labels", multiple=True)
def fetch(
    reference: str,
    plain_http: bool,
    user: str,
    platforms: tuple[str, ...],
    all_platforms: bool,
    labels: tuple[str, ...],
) -> None:
    """Pull an image without unpacking it."""
    from .pulling import PullOptions, pull_image

    options = PullOptions(
        plain_http=plain_http,
        user=user,
        platforms=platforms,
        all_platforms=all_platforms,
        labels=parse_labels(labels),
        unpack=False,
    )
    execute(lambda client: pull_image(client, reference, options))
