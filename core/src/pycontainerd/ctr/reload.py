"""``reload``: have the daemon read its configuration anew."""

from __future__ import annotations

import click

from pycontainerd.client import Client
from pycontainerd.client.control import Reload

from .context import execute
from .output import output_option, plain, print_data, print_rows


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would change")
@output_option
def reload(dry_run: bool, output: str) -> None:
    """Have the daemon read its configuration anew, and say what became of each key that changed.

    Ends with status 1 where the configuration is refused (then nothing changed) or a plugin rejects a value.
    """

    async def work(client: Client) -> Reload:
        return await client.control.reload(dry_run=dry_run)

    found = execute(work, namespaced=False)
    for warning in found.warnings:
        click.echo(warning, err=True)
    if output != "table":
        print_data(plain(found), output)
    elif not found.accepted:
        for problem in found.problems:
            click.echo(problem)
        click.echo("The configuration is not taken; the daemon goes on as it was.", err=True)
    elif found.changes:
        rows = [(one.key, one.verdict, one.plugin or "the daemon", one.message or "-") for one in found.changes]
        print_rows(("KEY", "RESULT", "OF", "NOTE"), rows, records=(), output=output)
    else:
        click.echo("Nothing changed.")
    if not found.accepted or any(one.verdict == "rejected" for one in found.changes):
        raise SystemExit(1)
