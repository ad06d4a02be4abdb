"""Labels: what every store shares."""

from __future__ import annotations

import pytest

from pycontainerd.contracts import labels
from pycontainerd.contracts.errors import InvalidArgument


def test_a_label_of_4096_bytes_is_the_longest() -> None:
    assert labels.validate({"k": "v" * 4095}) == {"k": "v" * 4095}
    with pytest.raises(InvalidArgument, match="4097 bytes"):
        labels.validate({"k": "v" * 4096})


def test_the_length_is_counted_in_bytes() -> None:
    with pytest.raises(InvalidArgument):
        labels.validate({"k": "ä" * 2048})


def test_labels_without_a_value_are_not_stored() -> None:
    assert labels.validate({"a": "", "b": "1"}) == {"b": "1"}


def test_a_label_needs_a_key() -> None:
    with pytest.raises(InvalidArgument):
        labels.validate({"": "x"})


OLD = {"a": "1", "b.c": "2"}


@pytest.mark.parametrize(
    ("new", "paths", "result"),
    [
        ({"x": "9"}, [], {"x": "9"}),
        ({"x": "9"}, ["labels"], {"x": "9"}),
        ({}, ["labels"], {}),
        ({"a": "9", "x": "9"}, ["labels.a"], {"a": "9", "b.c": "2"}),
        ({"a": ""}, ["labels.a"], {"b.c": "2"}),
        ({}, ["labels.b.c"], {"a": "1"}),
        ({"b.c": "3", "n": "4"}, ["labels.b.c", "labels.n"], {"a": "1", "b.c": "3", "n": "4"}),
        ({"a": "", "z": "1"}, [], {"z": "1"}),
    ],
)
def test_an_update_changes_what_its_field_paths_name(
    new: dict[str, str], paths: list[str], result: dict[str, str]
) -> None:
    assert labels.update(OLD, new, paths) == result
    assert OLD == {"a": "1", "b.c": "2"}


@pytest.mark.parametrize("path", ["size", "label", "labelsx", "labels."])
def test_other_field_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument):
        labels.update(OLD, {}, [path])


def test_a_filters_path_finds_a_label_with_dots() -> None:
    assert labels.field(OLD, ["b", "c"]) == "2"
    assert labels.field(OLD, ["b"]) is None
    assert labels.field(OLD, []) is None
