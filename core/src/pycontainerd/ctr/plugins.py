"""``ctr plugins``."""

from __future__ import annotations

import click

from pycontainerd.client import Client
from pycontainerd.client.introspection import Plugin
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.platforms import format as spelled

from .context import Group, execute
from .output import output_option, print_data, print_rows, quiet_option


@click.group(cls=Group)
def plugins() -> None:
    """What the daemon is made of."""


@plugins.add("list", "ls")
@quiet_option
@output_option
@click.option("--detailed", "-d", is_flag=True, help="Everything known of each")
@click.argument("filters", nargs=-1)
def list_plugins(quiet: bool, output: str, detailed: bool, filters: tuple[str, ...]) -> None:
    """List plugins and how each is."""

    async def work(client: Client) -> list[Plugin]:
        return await client.introspection.plugins(filters)

    found = execute(work, namespaced=False)
    if quiet:
        click.echo("".join(f"{item.id}\n" for item in found), nl=False)
    elif detailed and output == "table":
        click.echo("\n\n".join(_details(item) for item in found))
    else:
        rows = [(item.type, item.id, ",".join(map(spelled, item.platforms)) or "-", item.status) for item in found]
        records = [{"uri": item.uri, "status": item.status, **_record(item)} for item in found]
        print_rows(("TYPE", "ID", "PLATFORMS", "STATUS"), rows, records=records, output=output, padding=4)


def _record(item: Plugin) -> dict[str, object]:
    import attrs

    return attrs.asdict(item)


def _details(item: Plugin) -> str:
    lines = [("Type", item.type), ("ID", item.id)]
    lines += [("Requires", ", ".join(item.requires))] if item.requires else []
    lines += [("Platforms", ", ".join(map(spelled, item.platforms)))] if item.platforms else []
    lines += [(f"Export {key}", value) for key, value in item.exports.items()]
    lines += [("Capabilities", ", ".join(item.capabilities))] if item.capabilities else []
    lines += [("Error", f"{item.code}: {item.error}")] if item.error else []
    return "\n".join(f"{key + ':':<20} {value}" for key, value in lines)


@plugins.add("why")
@click.argument("uri")
@output_option
def why(uri: str, output: str) -> None:
    """Say whether the plugin URI (TYPE.ID) is up, and if it is not, why."""

    async def work(client: Client) -> Plugin:
        try:
            return await client.introspection.plugin(uri)
        except NotFound as exc:
            raise NotFound(exc.message, hint=await _nearest(client, uri)) from None

    found = execute(work, namespaced=False)
    if output != "table":
        print_data({"uri": found.uri, "status": found.status, **_record(found)}, output)
    elif found.status == "ok":
        click.echo(f"{found.uri} is up.")
    else:
        state = {"skip": "was skipped", "error": "is not up"}[found.status]
        click.echo(f"{found.uri} {state}: {found.error or found.code}")


async def _nearest(client: Client, uri: str) -> str:
    import difflib

    known = [item.uri for item in await client.introspection.plugins()]
    near = difflib.get_close_matches(uri, known, 1, 0.6)
    fits = [item for item in known if item.rpartition(".")[2] == uri.rpartition(".")[2]]
    found = near or fits[:1]
    return f"did you mean {found[0]}?" if found else "`ctr plugins ls` lists those it knows"
