"""``ctr snapshots export`` and ``import``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO

import click

from pycontainerd.client import Client
from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.contracts.types import now

from .context import execute, parse_labels
from .pulling import open_input
from .snapshots import snapshots

_CHUNK = 1 << 20


@snapshots.add("export")
@click.argument("file")
@click.argument("key")
def export(file: str, key: str) -> None:
    """Save a snapshot, active or committed, as an archive (tar in lz4) in FILE, or "-" for standard output.

    Whatever it is based on is in it too, so it can be imported anywhere. Stop what writes to an active one first.
    """
    snapshotter = click.get_current_context().meta["snapshotter"]

    async def work(client: Client) -> None:
        from pycontainerd.client.saved import save

        with _output(file) as out:
            async with contextlib.aclosing(save(client, key, snapshotter)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    out.write(chunk)

    execute(work)


@snapshots.add("import")
@click.option("--active", is_flag=True, help="Leave it writable, as the active snapshot NAME")
@click.option("--label", "labels", multiple=True)
@click.argument("file")
@click.argument("name")
def import_(active: bool, labels: tuple[str, ...], file: str, name: str) -> None:
    """Restore the archive FILE ("-": standard input) as the committed snapshot NAME."""
    snapshotter = click.get_current_context().meta["snapshotter"]
    kept = {"containerd.io/gc.root": now().strftime("%Y-%m-%dT%H:%M:%SZ"), **parse_labels(labels)}

    async def work(client: Client) -> None:
        from pycontainerd.client.saved import restore

        with open_input(file) as source:
            await restore(client, name, _chunks(source), snapshotter, active=active, labels=kept)

    execute(work)


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(source.read, _CHUNK):
        yield chunk


@contextlib.contextmanager
def _output(file: str) -> Iterator[IO[bytes]]:
    """Where the archive goes. A file has the whole of it, or stays what it was; others than the owner cannot read it."""
    if file == "-":
        if sys.stdout.isatty():
            raise FailedPrecondition("an archive is not for a terminal", hint="redirect the output, or name a file")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.exists(file) and not os.path.isfile(file):  # a pipe or a device
        with open(file, "wb") as out:
            yield out
        return
    fd, aside = tempfile.mkstemp(prefix=f".{os.path.basename(file)}.", dir=os.path.dirname(file) or ".")
    try:
        with open(fd, "wb") as out:
            yield out
            out.flush()
            os.fsync(fd)
        os.rename(aside, file)
    except BaseException:
        os.unlink(aside)
        raise
