"""``ctr images pull``, ``push``, ``import``, ``export``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import IO, Any

import click

from pycontainerd.client import Client
from pycontainerd.contracts.errors import FailedPrecondition

from .context import execute, parse_labels
from .images import images
from .pulling import (
    ImportOptions,
    PullOptions,
    export_images,
    import_image,
    open_input,
    pull_image,
    push_image,
)


def registry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How to reach and log in to a registry."""
    for option in (
        click.option("--plain-http", is_flag=True, help="Allow plain HTTP"),
        click.option("--skip-verify", "-k", is_flag=True, help="Accept any certificate"),
        click.option("--user", "-u", default="", help="NAME[:PASSWORD]"),
        click.option("--refresh", default="", help="A refresh token"),
        click.option("--hosts-dir", default="", help="Directory with hosts.toml files, read by the server"),
    ):
        function = option(function)
    return function


def _refuse_skip_verify(skip_verify: bool) -> None:
    if skip_verify:
        raise FailedPrecondition(
            "--skip-verify cannot be given to a server's transfer service",
            hint="write skip_verify = true into a hosts.toml and name its directory with --hosts-dir",
        )


@images.add("pull")
@registry_options
@click.option("--snapshotter", envvar="CONTAINERD_SNAPSHOTTER", default="", help="Unpack into this one")
@click.option("--label", "labels", multiple=True, help="Label the image KEY=VALUE")
@click.option("--platform", "platforms", multiple=True, help="Pull for this platform (default: this machine's)")
@click.option("--all-platforms", is_flag=True, help="Pull for every platform")
@click.option("--skip-metadata", is_flag=True, help="Leave out manifests of other platforms")
@click.option("--no-unpack", is_flag=True, help="Only fetch")
@click.option("--print-chainid", is_flag=True, help="Print the chain ID it unpacked to")
@click.option("--local", is_flag=True, help="Accepted; the server pulls")
@click.argument("reference")
def pull(
    reference: str, skip_verify: bool, labels: tuple[str, ...], no_unpack: bool, print_chainid: bool, local: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Pull an image; REFERENCE is a full name such as docker.io/library/alpine:latest."""
    del local
    _refuse_skip_verify(skip_verify)
    wanted = PullOptions(labels=parse_labels(labels), unpack=not no_unpack, **options)

    async def work(client: Client) -> None:
        image = await pull_image(client, reference, wanted)
        click.echo(f"{image.name} {image.target.digest}")
        if print_chainid:
            from pycontainerd.client.manifest import resolve

            click.echo(f"image chain ID: {(await resolve(client, image)).chain_id}")

    execute(work)


@images.add("push")
@registry_options
@click.option("--platform", "platforms", multiple=True, help="Push only this platform")
@click.option("--all-platforms", is_flag=True, hidden=True)
@click.option("--local", is_flag=True, help="Accepted; the server pushes")
@click.argument("target")
@click.argument("name", default="")
def push(target: str, name: str, skip_verify: bool, local: bool, **options: Any) -> None:
    """Push image NAME to TARGET (default: the image of that name)."""
    del local
    _refuse_skip_verify(skip_verify)
    wanted = PullOptions(**options)
    execute(lambda client: push_image(client, target, name or target, wanted))


@images.add("import")
@click.option("--base-name", default="", help="Name images without one so, and take only named ones that begin so")
@click.option("--digests", is_flag=True, help="Also name images by digest")
@click.option("--skip-digest-for-named", is_flag=True, help="With --digests: not those that have a name")
@click.option("--index-name", default="", help="Name the archive's index so")
@click.option("--platform", "platforms", multiple=True, help="Import for this platform (default: this machine's)")
@click.option("--all-platforms", is_flag=True, help="Import every platform")
@click.option("--no-unpack", is_flag=True, help="Do not unpack")
@click.option("--compress-blobs", "compress", is_flag=True, help="Compress layers that are not")
@click.option("--snapshotter", envvar="CONTAINERD_SNAPSHOTTER", default="", help="Unpack into this one")
@click.option("--label", "labels", multiple=True, help="Label images KEY=VALUE")
@click.option("--sync-fs", "sync", is_flag=True, help="Sync the file system before it counts as unpacked")
@click.option("--local", is_flag=True, help="Read the archive here instead of on the server")
@click.argument("path")
def import_(path: str, no_unpack: bool, labels: tuple[str, ...], **options: Any) -> None:
    """Import an OCI or Docker archive; PATH - is standard input."""
    wanted = ImportOptions(unpack=not no_unpack, labels=parse_labels(labels), **options)

    with open_input(path) as source:
        execute(lambda client: import_image(client, source, wanted))


@images.add("export")
@click.option("--skip-manifest-json", "skip_manifest", is_flag=True, help="Leave out Docker's manifest.json")
@click.option("--skip-non-distributable", is_flag=True, help="Leave out layers that registries need not have")
@click.option("--platform", "platforms", multiple=True, help="Only this platform (default: this machine's)")
@click.option("--all-platforms", is_flag=True, help="Every platform")
@click.option("--local", is_flag=True, help="Accepted; the server exports")
@click.argument("path")
@click.argument("names", nargs=-1, required=True)
def export(path: str, names: tuple[str, ...], platforms: tuple[str, ...], local: bool, **flags: bool) -> None:
    """Export images to an OCI archive that Docker reads too; PATH - is standard output."""
    del local

    def run(target: IO[bytes]) -> None:
        execute(lambda client: export_images(client, target, names, platforms, **flags))

    if path == "-":
        run(sys.stdout.buffer)
        return
    with open(path, "wb") as target:
        try:
            run(target)
        except BaseException:
            with contextlib.suppress(OSError):  # half an archive is none
                os.unlink(path)
            raise
