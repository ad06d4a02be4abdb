"""What commands print: tables as the Go tool has them, or JSON and YAML for programs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import click

from pycontainerd.contracts.types import AnyValue

FORMATS = ("table", "json", "yaml")
_KIB = 1024


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-o table|json|yaml`` as the parameter ``output``."""
    return click.option(
        "--output", "-o", type=click.Choice(FORMATS), default="table", show_default=True, help="What to print"
    )(function)


def quiet_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--quiet", "-q", is_flag=True, help="Print only names")(function)


def plain(value: Any) -> Any:
    """Records as JSON has them: times as RFC 3339, enumerations by name."""
    if attrs.has(type(value)):
        if isinstance(value, AnyValue):
            return _any(value)
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "name") and hasattr(value, "value"):  # an enumeration
        return str(value.name).lower()
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def _any(value: AnyValue) -> Any:
    """An Any as JSON, decoded where its type is known."""
    if value.value[:1] == b"{":
        try:
            return json.loads(value.value)
        except ValueError:
            pass
    from .decode import decode

    return {"type_url": value.type_url, **decode(value)}


def print_json(value: Any) -> None:
    click.echo(json.dumps(plain(value), indent=4, ensure_ascii=False))


def print_data(value: Any, output: str) -> None:
    """``value`` as JSON, or as YAML."""
    if output == "json":
        print_json(value)
    else:
        click.echo("\n".join(_yaml(plain(value), 0)))


def _yaml(value: Any, depth: int) -> Iterable[str]:
    """YAML of plain data. Strings are written as JSON has them, which YAML reads."""
    pad = "  " * depth
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                yield f"{pad}{json.dumps(key)}:"
                yield from _yaml(item, depth + 1)
            else:
                yield f"{pad}{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}"
    elif isinstance(value, list) and value:
        for item in value:
            first, *rest = _yaml(item, depth + 1)
            yield f"{pad}- {first.strip()}"
            yield from rest
    else:
        yield f"{pad}{json.dumps(value, ensure_ascii=False)}"


def print_rows(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, records: object, output: str, padding: int = 1
) -> None:
    """A table, or with ``output`` json or yaml the ``records`` that it was made from."""
    if output != "table":
        print_data(records, output)
        return
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) + padding for column in range(len(header))]
    for line in lines:
        click.echo("".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def human_size(value: float) -> str:
    """Bytes in binary units, as the Go tool writes them: ``1.0 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < _KIB or unit == "TiB":
            return f"{value:.1f} {unit}"
        value /= _KIB
    raise AssertionError


def decimal_size(value: float) -> str:
    """Bytes in decimal units with four digits, as ``content ls`` of the Go tool writes them: ``1.095MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.4g}{unit}"
        value /= 1000
    raise AssertionError


def age(moment: dt.datetime) -> str:
    """How long ago, roughly."""
    seconds = int((dt.datetime.now(dt.UTC) - moment).total_seconds())
    if seconds < 1:
        return "Less than a second"
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    raise AssertionError


def rfc3339(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
