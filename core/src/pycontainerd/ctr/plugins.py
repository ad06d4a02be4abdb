"""``ctr plugins``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import click

from pycontainerd.client import Client
from pycontainerd.client.introspection import Plugin
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.platforms import format as spelled

from .context import Group, execute
from .output import FORMATS, print_data, print_rows, quiet_option
from .plugin_graph import below, dot
from .scaffold import new

_output = click.option(
    "--output", "-o", type=click.Choice([*FORMATS, "dot"]), default="table", show_default=True, help="What to print"
)


@click.group(cls=Group)
def plugins() -> None:
    """What the daemon is made of."""


@plugins.add("list", "ls")
@quiet_option
@_output
@click.option("--detailed", "-d", is_flag=True, help="Everything known of each")
@click.argument("filters", nargs=-1)
def list_plugins(quiet: bool, output: str, detailed: bool, filters: tuple[str, ...]) -> None:
    """List plugins and how each is. Of a pycontainerd also those that are disabled or not installed.

    With -o dot the graph of what they require, for Graphviz. FILTERS are those of the API: id==tasks, state==failed.
    """

    async def work(client: Client) -> list[Plugin]:
        return await client.introspection.plugins(filters)

    found = execute(work, namespaced=False)
    known = {item.uri: item for item in found}
    if quiet:
        click.echo("".join(f"{item.id}\n" for item in found), nl=False)
    elif output == "dot":
        click.echo(dot(known))
    elif detailed and output == "table":
        click.echo("\n\n".join(_details(item) for item in found))
    else:
        _print_table(found, known, output)


def _print_table(found: Sequence[Plugin], known: Mapping[str, Plugin], output: str) -> None:
    header = ["TYPE", "ID", "PLATFORMS", "STATUS"]
    rows = [[item.type, item.id, _platforms(item) or "-", item.state] for item in found]
    if any(item.distribution for item in found):  # the Go containerd does not tell, and its table is its tool's
        header += ["PACKAGE", "VERSION", "IMPORT", "INIT"]
        for row, item in zip(rows, found, strict=True):
            row += [item.distribution or "-", item.version or "-", _time(item.import_seconds), _time(item.init_seconds)]
    print_rows(header, rows, records=[_record(item, known) for item in found], output=output, padding=4)


def _platforms(item: Plugin) -> str:
    return ",".join(map(spelled, item.platforms))


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}ms"


def _chain(item: Plugin, known: Mapping[str, Plugin]) -> list[str]:
    """The plugins from the one that ``item`` waits for to the one that is the cause."""
    found: dict[str, None] = {}
    name = item.blocked_by
    while name and name not in found:
        found[name] = None
        name = known[name].blocked_by if name in known else ""
    return list(found)


def _record(item: Plugin, known: Mapping[str, Plugin]) -> dict[str, object]:
    more = ("uri", "status", "state", "sentence", "distribution", "version", "wants", "import_seconds", "init_seconds")
    return {name: getattr(item, name) for name in more} | {"chain": _chain(item, known)} | attrs.asdict(item)


def _details(item: Plugin) -> str:
    lines = [("Type", item.type), ("ID", item.id), ("State", item.state)]
    lines += [("Package", f"{item.distribution} {item.version}")] if item.distribution else []
    lines += [("Import", _time(item.import_seconds))] if item.import_seconds is not None else []
    lines += [("Init", _time(item.init_seconds))] if item.init_seconds is not None else []
    lines += [("Requires", ", ".join(item.requires))] if item.requires else []
    lines += [("Wants", ", ".join(item.wants))] if item.wants else []
    lines += [("Platforms", _platforms(item))] if item.platforms else []
    lines += [(f"Export {key}", value) for key, value in item.exports.items() if not key.startswith("io.pycontainerd.")]
    lines += [("Capabilities", ", ".join(item.capabilities))] if item.capabilities else []
    lines += [("Blocked by", item.blocked_by)] if item.blocked_by else []
    lines += [("Error", f"{item.code}: {item.sentence}")] if item.error else []
    return "\n".join(f"{key + ':':<20} {value}" for key, value in lines)


@plugins.add("why")
@click.argument("uri")
@_output
def why(uri: str, output: str) -> None:
    """Say whether the plugin URI (TYPE.ID) is up, and if it is not, why. An id that only one plugin has will do.

    With -o dot the graph of all that it requires.
    """

    async def work(client: Client) -> tuple[Plugin, dict[str, Plugin]]:
        known = {item.uri: item for item in await client.introspection.plugins()}
        named = [item.uri for item in known.values() if item.id == uri]
        try:
            return await client.introspection.plugin(named[0] if len(named) == 1 else uri), known
        except NotFound as exc:
            raise NotFound(exc.message, hint=_nearest(known, uri)) from None

    found, known = execute(work, namespaced=False)
    if output == "dot":
        click.echo(dot(below(found.uri, known)))
    elif output != "table":
        print_data(_record(found, known), output)
    elif found.status == "ok":
        click.echo(f"{found.uri} is up.")
    elif found.distribution or found.uri in found.sentence:  # the sentence names the plugin already
        click.echo(found.sentence)
    else:
        state = {"skip": "was skipped", "error": "is not up"}[found.status]
        click.echo(f"{found.uri} {state}: {found.sentence or found.code}")


def _nearest(known: Mapping[str, Plugin], uri: str) -> str:
    import difflib

    near = difflib.get_close_matches(uri, known, 1, 0.6)
    fits = [name for name in known if name.rpartition(".")[2] == uri.rpartition(".")[2]]
    found = near or fits[:1]
    return f"did you mean {found[0]}?" if found else "`ctr plugins ls` lists those it knows"


plugins.add_command(new)
