"""WWW-Authenticate, as registries send it and as they should not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.registry.challenge import MAX_HEADER, Challenge, parse

_TOKENS = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


def test_a_bearer_challenge_has_realm_service_and_scope():
    header = 'Bearer realm="https://auth.test/token",service="reg.test",scope="repository:a/b:pull,push"'
    expected = {"realm": "https://auth.test/token", "service": "reg.test", "scope": "repository:a/b:pull,push"}
    assert parse([header]) == [Challenge("bearer", expected)]


def test_bearer_comes_before_basic_whatever_the_order():
    assert [one.scheme for one in parse(['Basic realm="x"', 'Bearer realm="y"'])] == ["bearer", "basic"]
    assert [one.scheme for one in parse(['Basic realm="x", Bearer realm="y"'])] == ["bearer", "basic"]


def test_quoted_pairs_are_unquoted_and_tokens_need_no_quotes():
    assert parse([r'Basic realm="a \"b\" \\", charset=UTF-8']) == [
        Challenge("basic", {"realm": 'a "b" \\', "charset": "UTF-8"})
    ]


@pytest.mark.parametrize("header", ["", "   ", ",,,", "=", '"', "Bearer", 'Bearer realm="unterminated', "\x00"])
def test_what_is_malformed_is_passed_over(header):
    assert all(isinstance(one, Challenge) for one in parse([header]))


@settings(max_examples=150)
@given(st.lists(st.tuples(_TOKENS, st.dictionaries(_TOKENS, _VALUES, min_size=1, max_size=3)), min_size=1, max_size=3))
def test_what_is_written_is_read_back(challenges):
    def quoted(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ",".join(f"{key}={quoted(value)}" for key, value in parameters.items())
        for scheme, parameters in challenges
    )
    found = sorted((one.scheme, sorted(one.parameters.items())) for one in parse([header]))
    assert found == sorted((scheme, sorted(parameters.items())) for scheme, parameters in challenges)


@settings(max_examples=150)
@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text):
    parse([text])


def test_a_huge_header_is_read_in_little_time():
    parse(["a" * (1 << 20)])
    parse(["Bearer " + 'x="' * MAX_HEADER])
    parse(["Bearer " + "x=y," * MAX_HEADER])
