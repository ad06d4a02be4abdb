"""Writes the manual pages, made from the code, into a directory: ``python packaging/man.py DIR``.

containerd(8) from the daemon's options, containerd-config.toml(5) from the config classes of the installed plugins, ctr(1)
from its commands.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from pycontainerd.config.commands import _parser as config_parser
from pycontainerd.config.keys import Main
from pycontainerd.config.plugins import installed
from pycontainerd.config.records import CONF_D, DEFAULT_ADDRESS, DEFAULT_PATH, DEFAULT_ROOT, DEFAULT_STATE
from pycontainerd.config.schema import of_class
from pycontainerd.ctr.main import COMMANDS, root
from pycontainerd.server.main import parser as daemon_parser


def text(words: str) -> str:
    """Words as roff has them."""
    words = " ".join(words.split()).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", words)


def page(name: str, section: int, what: str, body: Iterator[str]) -> str:
    head = [f'.TH "{name.upper()}" "{section}" "" "pycontainerd {version("pycontainerd")}"', ".SH NAME"]
    return "\n".join([*head, f"{text(name)} \\- {text(what)}", *body]) + "\n"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
            continue
        name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        takes = action.nargs != 0 and action.option_strings
        argument = f" {text(str(action.metavar or action.dest.upper()))}" if takes else ""
        yield from (".TP", f"\\fB{text(name)}\\fR{argument}")
        choices = f" One of {', '.join(map(str, action.choices))}." if action.choices else ""
        yield text((action.help or "") + choices) or "\\&"


def containerd() -> str:
    """containerd(8)."""

    def body() -> Iterator[str]:
        yield from (
            ".SH SYNOPSIS",
            "\\fBcontainerd\\fR [options]",
            ".br",
            "\\fBcontainerd\\fR [\\fB\\-c\\fR FILE] \\fBconfig\\fR COMMAND",
        )
        yield from (
            ".SH DESCRIPTION",
            text("The daemon that keeps images and runs containers. All it does is done by plugins."),
        )
        yield from (".SH OPTIONS", *_options(daemon_parser()))
        yield ".SH CONFIGURATION COMMANDS"
        commands = next(one for one in config_parser("", "")._actions if isinstance(one, argparse._SubParsersAction))
        for name, parser in commands.choices.items():
            yield from (f".SS config {name}", text(parser.description or ""), *_options(parser))
        yield ".SH SIGNALS"
        signals = {
            "SIGHUP": "Read the configuration anew and apply it. One that is not good changes nothing.",
            "SIGTERM, SIGINT": "End. Containers go on, and are found again at the next start.",
        }
        for name, what in signals.items():
            yield from (".TP", f"\\fB{name}\\fR", text(what))
        yield ".SH FILES"
        files = {
            DEFAULT_PATH: "the configuration",
            CONF_D: "files that it imports",
            DEFAULT_ROOT: "persistent data",
            DEFAULT_STATE: "data that does not outlive a reboot",
            DEFAULT_ADDRESS: "the socket of the API",
        }
        for name, what in files.items():
            yield from (".TP", f"\\fI{text(name)}\\fR", text(what))
        yield from (
            ".SH EXIT STATUS",
            text("0 after a signal; 1 where it cannot start, with one sentence that says why; 2 on wrong usage."),
        )
        yield from (".SH SEE ALSO", "\\fBctr\\fR(1), \\fBcontainerd\\-config.toml\\fR(5)")

    return page("containerd", 8, "container daemon", body())


def config() -> str:
    """containerd-config.toml(5)."""

    def body() -> Iterator[str]:
        yield from (".SH DESCRIPTION", text(f"The configuration of containerd(8), {DEFAULT_PATH}, in TOML. Versions 1 to 4 are read; these are the"
                    " keys of version 4. `containerd config default` prints them as a file, `containerd config check` says what is wrong with one."))  # fmt: skip
        yield from (".SH MAIN TABLE", *_keys(of_class(Main), ""))
        for uri, plugin in sorted(installed().tables.items()):
            made = of_class(plugin)
            if made["properties"]:
                yield from (f'.SH [plugins."{text(uri)}"]', *_keys(made, ""))

    return page("containerd-config.toml", 5, "configuration of the container daemon", body())


def _keys(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, one in schema["properties"].items():
        inner = one.get("additionalProperties")
        if one.get("properties"):
            yield from _keys(one, f"{prefix}{name}.")
            continue
        yield from (".TP", f"\\fB{text(prefix + name)}\\fR")
        default = f" Default: {one['default']!r}." if one.get("default") not in (None, "", [], {}) else ""
        yield text(one.get("description", "") + default) or "\\&"
        if isinstance(inner, Mapping) and inner.get("properties"):
            yield from _keys(inner, f"{prefix}{name}.NAME.")


def ctr() -> str:
    """ctr(1)."""

    def body() -> Iterator[str]:
        yield from (".SH SYNOPSIS", "\\fBctr\\fR [options] COMMAND ...")
        yield from (".SH DESCRIPTION", text(root.help or ""), ".SH OPTIONS", *_parameters(root))
        yield ".SH COMMANDS"
        for name in sorted(COMMANDS):
            yield from _command(click.Context(root, info_name="ctr"), name, root)
        yield from (".SH SEE ALSO", "\\fBcontainerd\\fR(8)")

    return page("ctr", 1, "command line of the container daemon", body())


def _command(context: click.Context, name: str, group: click.Group) -> Iterator[str]:
    command = group.get_command(context, name)
    if command is None or command.hidden:
        return
    here = click.Context(command, info_name=name, parent=context)
    if isinstance(command, click.Group):
        for one in command.list_commands(here):
            yield from _command(here, one, command)
        return
    yield from (
        f".SS {text(' '.join(here.command_path.split()[1:]))}",
        f"\\fB{text(here.command_path)}\\fR {text(' '.join(command.collect_usage_pieces(here)))}",
    )
    yield from (".PP", text(command.help or ""), *_parameters(command))


def _parameters(command: click.Command) -> Iterator[str]:
    for one in command.params:
        if isinstance(one, click.Option) and not one.hidden:
            takes = "" if one.is_flag else f" {text(one.make_metavar(click.Context(command)))}"
            yield from (".TP", f"\\fB{text(', '.join(one.opts))}\\fR{takes}", text(one.help or "") or "\\&")


PAGES = {"containerd.8": containerd, "containerd-config.toml.5": config, "ctr.1": ctr}


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (directory / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
