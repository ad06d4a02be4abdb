"""``version``, ``info``, ``deprecations`` and ``oci``."""

from __future__ import annotations

import platform

import click

from pycontainerd import __version__
from pycontainerd.client import Client

from .context import Group, execute
from .output import output_option, print_data, print_rows, rfc3339


@click.command()
@output_option
def version(output: str) -> None:
    """Show the versions of client and server."""

    async def work(client: Client) -> dict[str, dict[str, str]]:
        server, identity = await client.introspection.version(), await client.introspection.server()
        return {
            "client": {"version": __version__, "python": platform.python_version()},
            "server": {"version": server.version, "revision": server.revision, "uuid": identity.uuid},
        }

    found = execute(work, namespaced=False)
    if output != "table":
        print_data(found, output)
        return
    ours, theirs = found["client"], found["server"]
    click.echo(f"Client:\n  Version:  {ours['version']}\n  Python:   {ours['python']}\n")
    click.echo(f"Server:\n  Version:  {theirs['version']}\n  Revision: {theirs['revision']}\n  UUID: {theirs['uuid']}")


@click.command()
@click.option("--output", "-o", type=click.Choice(("json", "yaml")), default="json", show_default=True)
def info(output: str) -> None:
    """Show what the daemon is."""

    async def work(client: Client) -> dict[str, object]:
        identity = await client.introspection.server()
        return {"server": {"uuid": identity.uuid, "pid": identity.pid, "pidns": identity.pidns}}

    print_data(execute(work, namespaced=False), output)


@click.group(cls=Group)
def deprecations() -> None:
    """Deprecated features that were used."""


@deprecations.add("list", "ls")
@output_option
@click.option("--format", "format_", hidden=True, default="")
def list_deprecations(output: str, format_: str) -> None:
    """List deprecated features that were used since the daemon started."""

    async def work(client: Client) -> object:
        return (await client.introspection.server()).deprecations

    found = execute(work, namespaced=False)
    rows = [(item.id, rfc3339(item.last_occurrence), item.message) for item in found]  # type: ignore[attr-defined]
    print_rows(("ID", "LAST OCCURRENCE", "MESSAGE"), rows, records=found, output=format_ or output, padding=4)


@click.group(cls=Group)
def oci() -> None:
    """The default runtime spec."""


@oci.add("spec")
@click.option("--platform", "platform_", default="", help="Only Linux has one here")
def spec(platform_: str) -> None:
    """Print the spec that containers start from."""
    from pycontainerd.contracts.errors import NotImplemented
    from pycontainerd.oci import default_spec

    if platform_ and not platform_.startswith("linux"):
        raise NotImplemented(f"no default spec for platform {platform_}")
    settings = click.get_current_context().obj
    print_data(default_spec(settings.namespace), "json")
