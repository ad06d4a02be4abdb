"""``ctr containers``."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import attrs
import click
from click.core import ParameterSource

from pycontainerd.client import Client
from pycontainerd.client.launch import delete_container
from pycontainerd.client.task import create_task, load_task
from pycontainerd.contracts.containers import Container
from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, NotFound
from pycontainerd.contracts.runtime import Status
from pycontainerd.oci import from_any
from pycontainerd.oci.image import STOP_SIGNAL_LABEL

from .context import Group, execute, labels_text, parse_duration, parse_labels
from .options import container_options, plan
from .output import output_option, print_data, print_rows, quiet_option
from .prune import prune_command
from .run import create as create_from
from .signals import parse_signal


@click.group(cls=Group)
def containers() -> None:
    """Create, start, stop and remove containers."""


containers.add_command(prune_command("containers"))


@containers.add("list", "ls")
@quiet_option
@output_option
@click.argument("filters", nargs=-1)
def list_containers(quiet: bool, output: str, filters: tuple[str, ...]) -> None:
    """List containers, running or not."""

    async def work(client: Client) -> list[Container]:
        return await client.containers.list(filters)

    found = execute(work)
    if quiet:
        click.echo("".join(f"{item.id}\n" for item in found), nl=False)
        return
    rows = [(item.id, item.image or "-", item.runtime) for item in found]
    print_rows(("CONTAINER", "IMAGE", "RUNTIME"), rows, records=found, output=output, padding=4)


@containers.add("create", context_settings={"allow_interspersed_args": False})
@container_options
@click.argument("image")
@click.argument("id_", metavar="ID")
@click.argument("args", nargs=-1)
def create(image: str, id_: str, args: tuple[str, ...], rootfs: bool, **options: Any) -> None:
    """Create a container without running it (`ctr task start` does)."""
    wanted = plan(id_, args, **options)
    image = os.path.abspath(image) if rootfs else image
    execute(lambda client: create_from(client, image, wanted, rootfs))


@containers.add("start", context_settings={"allow_interspersed_args": False})
@click.option("--log-uri", default="", help="Write its output there (a file, or file://…)")
@container_options
@click.argument("image")
@click.argument("name")
@click.argument("args", nargs=-1)
@click.pass_context
def start(
    context: click.Context, /, image: str, name: str, args: tuple[str, ...], rootfs: bool, log_uri: str, **options: Any
) -> None:
    """Create container NAME from IMAGE and start it in the background.

    A container NAME of the same IMAGE that is not running is started again, as it was created and with what it wrote;
    options and ARGS are for a new one only. Its output is discarded without --log-uri.
    """
    wanted = plan(name, args, **options)
    image = os.path.abspath(image) if rootfs else image
    given = [key for key in (*options, "args") if context.get_parameter_source(key) is ParameterSource.COMMANDLINE]

    async def work(client: Client) -> None:
        there = await _find(client, name)
        if there is None:
            await create_from(client, image, wanted, rootfs)
        else:
            await _startable(client, there, "" if rootfs else image, given)
        try:
            await _start(client, name, log_uri)
        except BaseException:
            if there is None:
                await delete_container(client, name)
            raise
        click.echo(name)

    execute(work)


async def _find(client: Client, name: str) -> Container | None:
    try:
        return await client.containers.get(name)
    except NotFound:
        return None


async def _startable(client: Client, there: Container, image: str, given: list[str]) -> None:
    """Make sure that ``there`` can be started as what was asked for; a task of it that has ended is deleted."""
    hint = f"`ctr containers rm {there.id}` makes room for a new one"
    if there.image != image:
        raise AlreadyExists(f"container {there.id} exists already, of image {there.image or '(none)'}", hint=hint)
    try:
        state = await client.tasks.get(there.id)
    except NotFound:
        pass
    else:
        if state.status is not Status.STOPPED:
            raise AlreadyExists(
                f"container {there.id} runs already (it is {state.status.name.lower()})",
                hint=f"`ctr containers stop {there.id}` stops it",
            )
    if given:
        raise AlreadyExists(
            f"container {there.id} exists already and starts as it was created: {', '.join(given)} cannot be changed",
            hint=hint,
        )
    await stop_container(client, there.id, 0)


async def _start(client: Client, name: str, log_uri: str) -> None:
    task = await create_task(client, name, None, log_uri=log_uri)
    try:
        await task.start()
    except BaseException:
        await task.delete()
        raise


@containers.add("stop")
@click.option("--timeout", default="10s", show_default=True, help="Time to end before it is killed")
@click.option("--signal", "-s", "signal_", default="", help="Default: what its image says, SIGTERM else")
@click.argument("names", nargs=-1, required=True)
def stop(timeout: str, signal_: str, names: tuple[str, ...]) -> None:
    """Stop containers: ask them to end, kill them if they do not. They can be removed or started again then."""
    patience = parse_duration(timeout)

    async def work(client: Client) -> None:
        for name in names:
            await stop_container(client, name, patience, signal_)
            click.echo(name)

    execute(work)


async def stop_container(client: Client, name: str, patience: float, signal_: str = "") -> None:
    """Stop one container and delete its task; fine when it has none."""
    container = await client.containers.get(name)
    try:
        task = await load_task(client, name)
    except NotFound:
        return
    state = await task.state()
    if state.status in (Status.PAUSED, Status.PAUSING):
        await task.resume()
    if state.status is not Status.STOPPED:
        ended = asyncio.create_task(task.wait())
        first = parse_signal(signal_ or container.labels.get(STOP_SIGNAL_LABEL, "SIGTERM"))
        for number, wait in ((first, patience), (signal.SIGKILL, None)):
            try:
                await task.kill(number, everything=number == signal.SIGKILL)
            except NotFound:
                pass  # it has just ended
            done, _ = await asyncio.wait({ended}, timeout=wait)
            if done:
                break
        await ended
    await task.delete()


@containers.add("delete", "del", "remove", "rm")
@click.option("--keep-snapshot", is_flag=True, help="Keep what it wrote")
@click.option("--force", "-f", is_flag=True, help="Kill it first")
@click.argument("names", nargs=-1, required=True)
def delete(keep_snapshot: bool, force: bool, names: tuple[str, ...]) -> None:
    """Remove containers with their snapshots."""

    async def work(client: Client) -> None:
        for name in names:
            await _stop_ended(client, name, force)
            await delete_container(client, name, keep_snapshot=keep_snapshot)

    execute(work)


async def _stop_ended(client: Client, name: str, force: bool) -> None:
    """A task that has ended goes with its container; one that runs only with ``force``."""
    try:
        state = await client.tasks.get(name)
    except NotFound:
        return
    if state.status not in (Status.STOPPED, Status.CREATED) and not force:
        raise FailedPrecondition(
            f"cannot remove container {name}: it is {state.status.name.lower()}",
            hint=f"`ctr containers stop {name}` first, or use --force",
        )
    await stop_container(client, name, 0)


@containers.add("info")
@click.option("--spec", is_flag=True, help="Only its runtime spec")
@click.option("--output", "-o", type=click.Choice(("json", "yaml")), default="json", show_default=True)
@click.argument("name")
def info(spec: bool, output: str, name: str) -> None:
    """Show a container's record."""

    async def work(client: Client) -> Container:
        return await client.containers.get(name)

    found = execute(work)
    print_data(from_any(found.spec) if spec else found, output)


@containers.add("label")
@click.argument("name")
@click.argument("labels", nargs=-1, required=True)
def label(name: str, labels: tuple[str, ...]) -> None:
    """Set labels KEY=VALUE; KEY= clears one."""
    given = parse_labels(labels)

    async def work(client: Client) -> Container:
        found = await client.containers.get(name)
        merged = {**found.labels, **given}
        wanted = {key: value for key, value in merged.items() if value}
        return await client.containers.update(attrs.evolve(found, labels=wanted), ["labels"])

    click.echo(labels_text(execute(work).labels.items()))
