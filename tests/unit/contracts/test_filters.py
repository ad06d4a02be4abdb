"""Filters: containerd's syntax, as its own documentation and tests use it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.filters import MAX_FILTER, Selector, parse
from pycontainerd.contracts.quoting import quote

OBJECTS = [
    {"name": "foo", "labels.foo": "bar", "other": "amazing"},
    {"name": "bar", "labels.bar": "true", "labels.a.b/c": "x"},
    {"name": "baz", "labels.foo": "1234", "labels.more complex label": "present"},
    {"name": "", 'labels.more complex label with \\ and "': "present"},
]


def matched(*filters: str) -> list[int]:
    found = parse(filters)

    def match(fields: dict[str, str]) -> bool:
        return found.match(lambda path: fields.get(".".join(path)))

    return [index for index, fields in enumerate(OBJECTS) if match(fields)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], [0, 1, 2, 3]),
        ([""], [0, 1, 2, 3]),
        (["name==foo", ""], [0, 1, 2, 3]),
        (["name"], [0, 1, 2, 3]),
        (["labels.foo"], [0, 2]),
        (["labels.foo,name==baz"], [2]),
        (["name==foo", "name==bar"], [0, 1]),
        (["name!=foo"], [1, 2, 3]),
        (["labels.bar!=true"], [0, 2, 3]),
        (["labels.bar!=false"], [0, 1, 2, 3]),
        (['labels.bar!=""'], [1]),
        (['labels.nothing==""'], []),
        (["name~=^ba."], [1, 2]),
        (["name~=/ba[rz]/,labels.foo"], [2]),
        (["name~=|^foo$|"], [0]),
        (["labels.nothing~=/.*/"], [0, 1, 2, 3]),
        (['labels."more complex label"'], [2]),
        (['labels."more complex label with \\\\ and \\""==present'], [3]),
        (['labels.a."b/c"==x'], [1]),
        (['name == foo, other == "amazing"'], [0]),
        ([r"labels.foo~=/^\\d+$/"], [2]),
        ([r"labels.foo~=^\d{4}$"], [2]),
    ],
)
def test_a_filter_selects(filters: Sequence[str], expected: list[int]) -> None:
    assert matched(*filters) == expected


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("name==foo,", 11, "expected field or quoted"),
        ("labels.", 8, "expected field or quoted"),
        ("labels.?x", 8, "expected field or quoted"),
        ("labels.ns/key==value", 10, 'expected an operator ("=="|"!="|"~=")'),
        ("labels.key==/value", 13, "quoted literal not terminated"),
        ("labels.key==/value/", 13, "invalid quote encountered"),
        ("labels.|foo|==x", 8, "invalid quote encountered"),
        ("image~=,id", 8, "expected value or quoted"),
        ("a===b", 2, "unsupported operator '==='"),
        ("a=b", 2, "unsupported operator '='"),
        ("a==", 4, "expected value or quoted"),
        ("a==.b", 4, "expected value or quoted"),
        ("a ", 3, 'expected an operator ("=="|"!="|"~=")'),
        ("a==b c", 5, "unexpected input ' '"),
        ('a=="b"c', 7, "unexpected input 'c'"),
        ('a=="\\q"', 4, "illegal escape sequence"),
        ('a=="b\n"', 4, "quoted literal not terminated"),
        ("a~=(", 4, "bad regular expression '(': missing ) at character 2"),
        ("a\0", 2, "unexpected null"),
        (",", 1, "expected field or quoted"),
    ],
)
def test_a_syntax_error_says_where_and_what(text: str, position: int, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(["fine", text])
    assert str(caught.value).endswith(f"parse error at character {position}: {reason}")


def test_an_error_in_one_filter_is_an_error_even_beside_an_empty_one() -> None:
    with pytest.raises(InvalidArgument):
        parse(["", "a="])


def test_filters_have_limits() -> None:
    with pytest.raises(InvalidArgument):
        parse(["a" * (MAX_FILTER + 1)])
    with pytest.raises(InvalidArgument):
        parse(["a"] * 1025)


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufffd"), max_size=40)


@given(st.lists(TEXT, min_size=1, max_size=4), st.sampled_from(["==", "!=", ""]), TEXT)
def test_what_is_quoted_is_read_back(path: list[str], operator: str, value: str) -> None:
    text = ".".join(map(quote, path)) + (operator + quote(value) if operator else "")
    assert parse([text]).alternatives == [[Selector(path, operator, value if operator else "")]]


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_an_invalid_argument(text: str) -> None:
    try:
        parse([text]).match(lambda path: None)
    except InvalidArgument:
        pass


@given(st.text('ab.,=!~"/|\\ x0*(', max_size=30))
def test_text_of_the_syntax_itself_is_a_filter_or_an_invalid_argument(text: str) -> None:
    try:
        parse([text]).match(lambda path: "ab")
    except InvalidArgument:
        pass
