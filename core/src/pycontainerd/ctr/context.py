"""What commands share: settings, the way into the event loop, and small parsers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, TypeVar

import attrs
import click

from pycontainerd.client import Client
from pycontainerd.contracts.errors import DeadlineExceeded, InvalidArgument

T = TypeVar("T")

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


@attrs.frozen
class Settings:
    """The global options. ``timeout`` in seconds, 0 is none."""

    address: str
    namespace: str
    timeout: float = 0
    debug: bool = False


def execute(work: Callable[[Client], Coroutine[Any, Any, T]], *, namespaced: bool = True) -> T:
    """Run ``work`` with a client made from the global options, within the time they give."""
    settings = click.get_current_context().find_object(Settings)
    assert settings is not None

    async def run() -> T:
        namespace = settings.namespace if namespaced else ""
        async with Client(settings.address, namespace=namespace) as client:
            try:
                async with asyncio.timeout(settings.timeout or None):
                    return await work(client)
            except TimeoutError:
                raise DeadlineExceeded(f"no answer within the --timeout of {settings.timeout:g} s") from None

    return asyncio.run(run())


def parse_duration(text: str) -> float:
    """Seconds in ``1h30m``, ``500ms``, ``10s``, or a bare number of seconds.

    :raises InvalidArgument: it is none of these.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(f"{text!r} is no duration", hint="for example 10s, 1m30s, 500ms")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def duration(text: str) -> timedelta:
    return timedelta(seconds=parse_duration(text))


def parse_labels(values: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` to a map; ``KEY`` alone has an empty value (which clears a label)."""
    found = {}
    for value in values:
        key, _, text = value.partition("=")
        if not key:
            raise InvalidArgument(f"label {value!r} has no key")
        found[key] = text
    return found


def labels_text(labels: Iterable[tuple[str, str]], empty: str = "") -> str:
    """Labels as the tables show them."""
    return ",".join(f"{key}={value}" if value else key for key, value in sorted(labels)) or empty


class Group(click.Group):
    """A group whose commands may have aliases: ``@group.command("list", aliases=("ls",))``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._aliases: dict[str, str] = {}

    def add(self, name: str, *aliases: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
        """Register a command under ``name`` and ``aliases``."""
        self._aliases.update(dict.fromkeys(aliases, name))

        def register(function: Callable[..., Any]) -> click.Command:
            return self.command(name, **attributes)(function)

        return register

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self._aliases.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.commands[name]
            names = [name, *(alias for alias, full in self._aliases.items() if full == name)]
            if not command.hidden:
                rows.append((", ".join(names), command.get_short_help_str(80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
