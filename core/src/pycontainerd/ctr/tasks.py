"""``ctr tasks``."""

from __future__ import annotations

import signal
import sys

import attrs
import click

from pycontainerd.client import Client
from pycontainerd.client.task import Process, Task, load_task
from pycontainerd.client.tasks import Metric
from pycontainerd.contracts.errors import NotFound, NotImplemented
from pycontainerd.contracts.runtime import ProcessInfo, ProcessState, Status

from .context import Group, execute
from .output import output_option, plain, print_data, print_rows, quiet_option
from .signals import parse_signal


@click.group(cls=Group)
def tasks() -> None:
    """Control running containers."""


@tasks.add("list", "ls")
@quiet_option
@output_option
def list_tasks(quiet: bool, output: str) -> None:
    """List tasks."""

    async def work(client: Client) -> list[ProcessState]:
        return list(await client.tasks.list())

    found = execute(work)
    if quiet:
        click.echo("".join(f"{item.container_id}\n" for item in found), nl=False)
        return
    rows = [(item.container_id, item.pid, item.status.name) for item in found]
    print_rows(("TASK", "PID", "STATUS"), rows, records=found, output=output, padding=4)


@tasks.add("kill")
@click.option("--signal", "-s", "signal_", default="SIGTERM", show_default=True)
@click.option("--exec-id", default="", help="A process that was added with exec")
@click.option("--all", "-a", "everything", is_flag=True, help="All processes of the container")
@click.argument("name")
def kill(signal_: str, exec_id: str, everything: bool, name: str) -> None:
    """Send a signal."""
    number = parse_signal(signal_)
    execute(lambda client: client.tasks.kill(name, number, exec_id, everything=everything))


@tasks.add("pause")
@click.argument("name")
def pause(name: str) -> None:
    """Freeze a container."""
    execute(lambda client: client.tasks.pause(name))


@tasks.add("resume")
@click.argument("name")
def resume(name: str) -> None:
    """Thaw a container."""
    execute(lambda client: client.tasks.resume(name))


@tasks.add("delete", "del", "remove", "rm")
@click.option("--force", "-f", is_flag=True, help="Kill it first")
@click.option("--exec-id", default="", help="Only this process that was added with exec")
@click.argument("names", nargs=-1, required=True)
def delete(force: bool, exec_id: str, names: tuple[str, ...]) -> None:
    """Delete tasks that have ended. Ends with the exit status of the last."""

    async def work(client: Client) -> int:
        status = 0
        for name in names:
            process = Process(client, name, exec_id) if exec_id else Task(client, name)
            if force:
                await _kill(process)
            status = (await process.delete()).status
        return status

    code = execute(work)
    if code:
        click.echo(f"{names[-1]}: exit status {code}", err=True)


async def _kill(process: Process) -> None:
    if (await process.state()).status is Status.STOPPED:
        return
    try:
        await process.kill(signal.SIGKILL, everything=not process.exec_id)
    except NotFound:
        return  # it has just ended
    await process.wait()


@tasks.add("ps", "processes")
@output_option
@click.argument("name")
def ps(output: str, name: str) -> None:
    """List the processes in a container."""

    async def work(client: Client) -> list[ProcessInfo]:
        return list(await client.tasks.pids(name))

    found = execute(work)
    rows = [(item.pid, plain(item.info) if item.info else "-") for item in found]
    print_rows(("PID", "INFO"), rows, records=found, output=output, padding=4)


@tasks.add("metrics", "metric")
@output_option
@click.option("--format", "format_", type=click.Choice(("table", "json")), default=None, hidden=True)
@click.argument("name")
def metrics(output: str, format_: str | None, name: str) -> None:
    """Show what a container uses."""

    async def work(client: Client) -> Metric:
        found = await client.tasks.metrics([f"id=={name}"])
        if not found:
            raise NotFound(f"no metrics for {name}: it has no running task")
        return found[0]

    found = execute(work)
    record = {**attrs.asdict(found, recurse=False), "data": plain(found.data)}
    if (format_ or output) != "table":
        print_data(record, format_ or output)
        return
    print_rows(("ID", "TIMESTAMP"), [(found.id, found.timestamp)], records=None, output="table", padding=4)
    click.echo()
    rows = [item for item in _leaves(record["data"]) if not item[0].endswith("type_url")]
    print_rows(("METRIC", "VALUE"), rows, records=None, output="table", padding=4)


def _leaves(value: object, path: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}" if path else key)]
    return [] if isinstance(value, list) else [(path, value)]


@tasks.add("checkpoint")
@click.argument("name")
@click.argument("rest", nargs=-1)
def checkpoint(name: str, rest: tuple[str, ...]) -> None:
    """Not supported."""
    del rest
    raise NotImplemented(f"cannot checkpoint {name}: checkpoint and restore are not supported")


@tasks.add("start")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it runs")
@click.option("--null-io", is_flag=True, help="No standard streams")
@click.option("--log-uri", default="", help="Write output there")
@click.option("--fifo-dir", default="", help="Make FIFOs there")
@click.option("--pid-file", default="", help="Write the pid to this file")
@click.argument("name")
def start(name: str, **options: object) -> None:
    """Run a container that was created; ends with its exit status."""
    from .run import start_existing

    _exit(execute(lambda client: start_existing(client, name, dict(options))))


@tasks.add("attach")
@click.argument("name")
def attach(name: str) -> None:
    """Connect to a container that runs in the background; ends with its exit status."""
    from .interactive import follow_to_end, own_streams

    async def work(client: Client) -> int:
        task = await load_task(client, name)
        terminal = (await task.state()).stdio.terminal
        await task.attach(own_streams(terminal))
        found = await follow_to_end(task, terminal)
        await task.delete()
        return found.status

    _exit(execute(work))


@tasks.add("exec", context_settings={"allow_interspersed_args": False})
@click.option("--exec-id", default="", help="Default: a generated one")
@click.option("--cwd", default="", help="Working directory")
@click.option("--tty", "-t", is_flag=True, help="Give it a terminal")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it runs")
@click.option("--user", "-u", default="", help="USER[:GROUP], numbers")
@click.option("--env", "-e", multiple=True, help="Set a variable NAME=VALUE")
@click.option("--fifo-dir", default="", help="Make FIFOs there")
@click.option("--log-uri", default="", help="Write output there")
@click.argument("name")
@click.argument("args", nargs=-1, required=True)
def exec_(name: str, args: tuple[str, ...], **options: object) -> None:
    """Run another process in a container; ends with its exit status."""
    from .executing import exec_in

    _exit(execute(lambda client: exec_in(client, name, args, dict(options))))


def _exit(code: int) -> None:
    if code:
        sys.exit(code)
