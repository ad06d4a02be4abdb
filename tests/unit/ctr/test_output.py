"""What ctr prints, and what it reads from a command line."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Sequence

import attrs
import click
import pytest
from click.testing import CliRunner

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import AnyValue
from pycontainerd.ctr import context, output
from pycontainerd.ctr.signals import parse_signal


class Colour(enum.Enum):
    BLUE = 1


@attrs.frozen
class Record:
    name: str
    when: dt.datetime
    colour: Colour
    parts: Sequence[int] = ()
    body: AnyValue | None = None


RECORD = Record("a", dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC), Colour.BLUE, (1, 2), AnyValue("t", b'{"x":1}'))


def shown(rows: Sequence[Sequence[object]], style: str) -> str:
    @click.command()
    def command() -> None:
        output.print_rows(("NAME", "SIZE"), rows, records=[RECORD], output=style)

    return CliRunner().invoke(command).output


def test_a_table_is_as_wide_as_its_widest_cells() -> None:
    assert (
        shown([("longest-name", 1), ("b", 22)], "table")
        == "NAME         SIZE \nlongest-name 1    \nb            22   \n"
    )


def test_json_has_times_enumerations_and_bodies_decoded() -> None:
    assert json.loads(shown([], "json")) == [
        {"name": "a", "when": "2024-01-02T03:04:05Z", "colour": "blue", "parts": [1, 2], "body": {"x": 1}}
    ]


def test_yaml_is_the_same_data() -> None:
    lines = shown([], "yaml").splitlines()
    assert lines[0] == '- "name": "a"'
    assert '  "parts":' in lines
    assert "    - 1" in lines


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 B"), (1023, "1023.0 B"), (1024, "1.0 KiB"), (3 << 30, "3.0 GiB"), (5 << 50, "5120.0 TiB")],
)
def test_sizes_are_binary(size: int, text: str) -> None:
    assert output.human_size(size) == text


@pytest.mark.parametrize(("size", "text"), [(999, "999B"), (1_095_123, "1.095MB"), (2_000_000_000, "2GB")])
def test_sizes_of_content_are_decimal(size: int, text: str) -> None:
    assert output.decimal_size(size) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("10", 10), ("1.5", 1.5), ("10s", 10), ("1h30m", 5400), ("500ms", 0.5), ("1m0.5s", 60.5)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert context.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "10x", "-1s", "1h 2m", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="duration"):
        context.parse_duration(text)


def test_labels_are_read_and_written() -> None:
    assert context.parse_labels(["a=b", "c=", "d", "e=f=g"]) == {"a": "b", "c": "", "d": "", "e": "f=g"}
    assert context.labels_text({"b": "2", "a": ""}.items()) == "a,b=2"
    with pytest.raises(InvalidArgument, match="no key"):
        context.parse_labels(["=x"])


@pytest.mark.parametrize(("text", "number"), [("SIGTERM", 15), ("kill", 9), ("15", 15), ("RTMIN+3", 37)])
def test_signals_are_read(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "SIGNOTHING", "TERM+x", "-9"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="signal"):
        parse_signal(text)
