"""``ctr``: global options, and the commands, each loaded only when it is called.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found; 4 already there; 5 refused in this state; 6 no answer from the
daemon; 7 not served; 8 timed out; 130 interrupted. ``run``, ``task start``, ``task attach`` and ``task exec`` end with the exit status of the process.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from pycontainerd.contracts.errors import ContainerdError

# What is typed → module:attribute. What is not here is looked for among plugins (`extensions`).
COMMANDS: dict[str, str] = {
    "containers": "containers:containers",
    "content": "content:content",
    "deprecations": "info:deprecations",
    "events": "events:events",
    "df": "gc:df",
    "gc": "gc:gc",
    "images": "images:images",
    "info": "info:info",
    "leases": "leases:leases",
    "namespaces": "namespaces:namespaces",
    "oci": "info:oci",
    "plugins": "plugins:plugins",
    "reload": "reload:reload",
    "run": "run:run",
    "snapshots": "snapshots:snapshots",
    "tasks": "tasks:tasks",
    "version": "info:version",
}
ALIASES: dict[str, str] = {
    "c": "containers",
    "container": "containers",
    "event": "events",
    "i": "images",
    "image": "images",
    "namespace": "namespaces",
    "ns": "namespaces",
    "plugin": "plugins",
    "snapshot": "snapshots",
    "t": "tasks",
    "task": "tasks",
}
_SHORT: dict[str, str] = {
    "containers": "Create, start, stop and remove containers",
    "content": "Look into the content store",
    "deprecations": "Deprecated features that were used",
    "df": "Show whose the bytes on disk are",
    "events": "Print events as they come",
    "gc": "Collect garbage, and say what keeps what",
    "images": "Pull, import, list and remove images",
    "info": "Show what the daemon is",
    "leases": "Keep things from collection",
    "namespaces": "Manage namespaces",
    "oci": "Show the default runtime spec",
    "plugins": "List plugins, and say why one is not up",
    "reload": "Have the daemon read its configuration anew",
    "run": "Run a container from an image",
    "snapshots": "Look into snapshotters",
    "tasks": "Control running containers",
    "version": "Show the versions of client and server",
}
_EXIT_CODES: dict[str, int] = {
    "NOT_FOUND": 3,
    "ALREADY_EXISTS": 4,
    "FAILED_PRECONDITION": 5,
    "UNAVAILABLE": 6,
    "UNIMPLEMENTED": 7,
    "DEADLINE_EXCEEDED": 8,
    "INVALID_ARGUMENT": 2,
}


class Root(click.Group):
    """Loads a command's module when the command is called, so that none pays for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if found is None:
            from . import extensions

            return extensions.find(cmd_name)
        module, _, attribute = found.partition(":")
        command: click.Command = getattr(importlib.import_module(f"pycontainerd.ctr.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = {name: ", ".join([name, *(a for a, full in ALIASES.items() if full == name)]) for name in COMMANDS}
        with formatter.section("Commands"):
            formatter.write_dl([(names[name], _SHORT[name]) for name in sorted(COMMANDS)])
        from . import extensions

        more = extensions.listed()
        if more:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, f"See ctr {name} --help") for name in more])


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--address", "-a", envvar="CONTAINERD_ADDRESS", default="/run/containerd/containerd.sock", show_default=True,
    help="The daemon's socket [env: CONTAINERD_ADDRESS]",
)  # fmt: skip
@click.option(
    "--namespace", "-n", envvar="CONTAINERD_NAMESPACE", default="default", show_default=True,
    help="The namespace to work in [env: CONTAINERD_NAMESPACE]",
)  # fmt: skip
@click.option("--timeout", default="0s", help="Give up after this long (10s, 2m; 0: never)")
@click.option("--connect-timeout", default="0s", hidden=True)
@click.option("--debug", is_flag=True, help="Show where an error came from")
@click.version_option(package_name="pycontainerd", prog_name="ctr")
@click.pass_context
def root(ctx: click.Context, address: str, namespace: str, timeout: str, connect_timeout: str, debug: bool) -> None:
    """Talk to containerd: this one, or any other (1.6 to 2.x)."""
    from .context import Settings, parse_duration

    del connect_timeout  # accepted as the Go tool has it; connecting is tried once and answers at once
    ctx.obj = Settings(address, namespace, parse_duration(timeout), debug)


def _report(message: str) -> None:
    sys.stderr.write(f"ctr: {message}\n")


def main() -> None:
    """The executable."""
    debug = "--debug" in sys.argv
    try:
        code = root.main(prog_name="ctr", standalone_mode=False)
        sys.stdout.flush()
    except ContainerdError as exc:
        _raise_if(debug, exc)
        _report(str(exc))
        code = _EXIT_CODES.get(exc.code, 1)
    except click.ClickException as exc:
        exc.show()
        code = exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        # Whoever read our output has enough of it; the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    except (OSError, ValueError) as exc:
        _raise_if(debug, exc)
        _report(str(exc))
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _raise_if(debug: bool, exc: BaseException) -> None:
    if debug:
        raise exc


if __name__ == "__main__":
    main()
