"""What the writer writes, tomli reads back."""

from __future__ import annotations

import math

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.config import toml

KEYS = st.text(max_size=5)
VALUES = st.recursive(
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False), st.text(max_size=8))
    | st.dates()
    | st.times()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_every_document_reads_back_as_it_was(values):
    assert tomli.loads(toml.dumps(values)) == values


def test_numbers_that_are_none_read_back():
    read = tomli.loads(toml.dumps({"a": math.inf, "b": -math.inf, "c": math.nan}))
    assert (read["a"], read["b"], math.isnan(read["c"])) == (math.inf, -math.inf, True)


def test_comments_stand_before_or_behind_their_key():
    text = toml.dumps(
        {"a": 1, "t": {"b": 2}},
        {("a",): toml.Comment(["one", "", "two"], "behind"), ("t",): toml.Comment(["table"])},
    )
    assert text == "# one\n\n# two\na = 1  # behind\n\n# table\n[t]\nb = 2\n"
