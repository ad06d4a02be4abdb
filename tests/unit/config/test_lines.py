"""Which line sets which key."""

from __future__ import annotations

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.config.lines import key_lines


def test_keys_of_every_shape_have_their_line():
    text = (
        "version = 2\n"
        'root="/r" # a comment\n'
        "[plugins.'io.x.v1.a'.sub]\n"
        '  a.b."c d" = 1\n'
        'text = """\n'
        "not = 1\n"
        "[not.a.table]\n"
        '"""\n'
        "list = [\n"
        '  "x = 1",\n'
        "]\n"
        "last = true\n"
        '["q.q"]\n'
        "[[many]]\n"
        "one = 1\n"
    )
    table = ("plugins", "io.x.v1.a", "sub")
    assert key_lines(text) == {
        ("version",): 1,
        ("root",): 2,
        table: 3,
        (*table, "a", "b", "c d"): 4,
        (*table, "text"): 5,
        (*table, "list"): 9,
        (*table, "last"): 12,
        ("q.q",): 13,
        ("many",): 14,
        ("many", "one"): 15,
    }


def test_quotes_of_one_kind_may_be_in_those_of_the_other():
    assert key_lines("""["'a'".'"b"']\nx = "#" # y\n""") == {("'a'", '"b"'): 1, ("'a'", '"b"', "x"): 2}


KEYS = st.text(st.sampled_from("abz09_-. \"\\#=[]'é"), min_size=1, max_size=6)
VALUES = st.one_of(
    st.integers(-9, 9).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.just('"# = ["'),
    st.just('"""\nx = 1\n[y]\n"""'),
    st.just("'''\na = '\n'''"),
    st.just("[\n  1, # ]\n  2,\n]"),
    st.just('{a = 1, "b.c" = [2]}'),
)


def quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4),
    st.lists(st.sampled_from(["", "# c = 1", "  "]), max_size=3),
)
def test_every_key_of_a_document_is_found_on_its_line(tables, filler):
    lines: list[str] = []
    expected = {}
    for table, keys in tables.items():
        lines.extend(filler)
        lines.append(f"[ {quoted(table)} ]  # here")
        expected[(table,)] = len(lines)
        for key, value in keys.items():
            lines.append(f"  {quoted(key)} = {value}")
            expected[(table, key)] = len(lines)
            lines = "\n".join(lines).split("\n")
    text = "\n".join(lines)
    tomli.loads(text)
    assert key_lines(text) == expected
