"""Durations as Go writes them."""

from __future__ import annotations

import pytest

from pycontainerd.contracts.durations import parse
from pycontainerd.contracts.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("100ms", 0.1),
        ("1h30m", 5400),
        ("-1.5s", -1.5),
        ("+.5m", 30),
        ("1.s", 1),
        ("2us3ns", 2.003e-6),
        ("1µs", 1e-6),
    ],
)
def test_what_go_takes_is_taken(text: str, seconds: float) -> None:
    assert parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "1d", "--1s", ".s", "1s ", "1e3s", "٣s", "1s" * 40])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="no duration"):
        parse(text)
