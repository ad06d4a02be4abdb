"""``ctr run``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import click

from pycontainerd.client import Client
from pycontainerd.client.launch import Plan, create_container, create_rootfs_container, delete_container
from pycontainerd.client.task import Task, create_task
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument
from pycontainerd.oci import from_any
from pycontainerd.sys.fs import write_atomic

from .context import execute
from .interactive import own_streams, run_to_end
from .options import container_options, plan


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--rm", "remove", is_flag=True, help="Delete the container when it has ended")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it runs")
@click.option("--null-io", is_flag=True, help="No standard streams")
@click.option("--log-uri", default="", help="Write output there (a file, or file://…)")
@click.option("--fifo-dir", default="", help="Make FIFOs there")
@click.option("--pid-file", default="", help="Write the pid to this file")
@container_options
@click.argument("image")
@click.argument("id_", metavar="ID")
@click.argument("args", nargs=-1)
def run(image: str, id_: str, args: tuple[str, ...], **options: Any) -> None:
    """Run a container ID from IMAGE; ends with its exit status."""
    if options["remove"] and options["detach"]:
        raise InvalidArgument("--rm and --detach exclude each other")
    wanted = plan(id_, args, **options)
    image = os.path.abspath(image) if options["rootfs"] else image
    code = execute(lambda client: _run(client, image, wanted, options))
    if code:
        sys.exit(code)


async def create(client: Client, image: str, wanted: Plan, rootfs: bool) -> None:
    """Create the container from an image, or on a directory."""
    if rootfs:
        await create_rootfs_container(client, image, wanted)
    else:
        await create_container(client, image, wanted)


async def _run(client: Client, image: str, wanted: Plan, options: dict[str, Any]) -> int:
    await create(client, image, wanted, options["rootfs"])
    keep = False
    try:
        code = await start_existing(client, wanted.id, options)
        keep = not options["remove"]
        return code
    finally:
        if not keep:
            await delete_container(client, wanted.id)


async def start_existing(client: Client, id_: str, options: dict[str, Any]) -> int:
    """Run a container that is there: to its end, or with ``detach`` until it has started. Returns its exit status."""
    terminal = bool(from_any((await client.containers.get(id_)).spec).get("process", {}).get("terminal"))
    task = await _task(client, id_, terminal, options)
    runs_on = False
    try:
        code = await _start(task, terminal, options)
        runs_on = options["detach"]
        return code
    finally:
        if not runs_on:
            await _stop(task)


async def _task(client: Client, id_: str, terminal: bool, options: dict[str, Any]) -> Task:
    streams = None if options["null_io"] else own_streams(terminal)
    return await create_task(
        client,
        id_,
        streams,
        fifo_dir=options["fifo_dir"],
        log_uri=options["log_uri"],
        detached=options["detach"],
    )


async def _start(task: Task, terminal: bool, options: dict[str, Any]) -> int:
    if options["pid_file"]:
        await asyncio.to_thread(_write_pid, options["pid_file"], task.pid)
    if options["detach"]:
        await task.start()
        return 0
    return await run_to_end(task, terminal)


def _write_pid(path: str, pid: int) -> None:
    write_atomic(os.path.abspath(path), str(pid).encode(), sync=False)


async def _stop(task: Task) -> None:
    """End and delete the task, whatever it is doing."""
    try:
        await task.delete()
    except ContainerdError:
        await task.kill(signal.SIGKILL, everything=True)
        await task.wait()
        await task.delete()
