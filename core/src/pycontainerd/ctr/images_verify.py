"""``ctr images verify``."""

from __future__ import annotations

import sys

import click

from pycontainerd.client import Client
from pycontainerd.client.launch import find_image
from pycontainerd.client.verify import Verdict
from pycontainerd.client.verify import repair as repair_image
from pycontainerd.client.verify import verify as verify_image
from pycontainerd.contracts.platforms import parse

from .context import execute
from .images import images
from .output import output_option, plain, print_rows


@images.add("verify")
@click.option("--repair", is_flag=True, help="Make damaged layers anew, and take damaged content away")
@click.option("--snapshotter", envvar="CONTAINERD_SNAPSHOTTER", default="")
@click.option("--platform", "platform_", default="", help="Another than this machine's")
@output_option
@click.argument("names", nargs=-1)
def verify(repair: bool, snapshotter: str, platform_: str, output: str, names: tuple[str, ...]) -> None:
    """Check that the files of images (default: all) are what they should be. Needs root on the daemon's machine."""
    platform = parse(platform_) if platform_ else None

    async def work(client: Client) -> list[Verdict]:
        chosen = [await find_image(client, name) for name in names] if names else await client.images.list()
        verdicts = []
        for image in chosen:
            verdict = await verify_image(client, image, snapshotter=snapshotter, platform=platform)
            if repair and verdict.faults:
                verdict = await repair_image(client, image, verdict, snapshotter=snapshotter)
            verdicts.append(verdict)
        return verdicts

    verdicts = execute(work)
    rows = []
    for verdict in verdicts:
        rows += [(verdict.image, fault.kind, fault.key, f"repaired: {fault.reason}") for fault in verdict.repaired]
        rows += [(verdict.image, fault.kind, fault.key, fault.reason) for fault in verdict.faults]
        if not verdict.faults and not verdict.repaired:
            rows.append((verdict.image, "-", "-", f"sound ({verdict.blobs} blobs, {verdict.layers} layers)"))
    records = [plain(verdict) for verdict in verdicts]
    print_rows(("REF", "KIND", "KEY", "STATUS"), rows, records=records, output=output)
    if any(verdict.faults for verdict in verdicts):
        sys.exit(1)
