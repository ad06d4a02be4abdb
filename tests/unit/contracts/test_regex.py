"""Regular expressions in linear time."""

from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.regex import Regex, RegexError


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("", ["", "x"], []),
        ("^a$", ["a"], ["a\n", "ab", ""]),
        ("(?m)^a$", ["a", "b\na\nc"], ["ab"]),
        ("a.b", ["axb"], ["a\nb", "ab"]),
        ("(?s)a.b", ["a\nb"], ["ab"]),
        ("(?i)straSSe", ["STRASSE", "strasse"], ["strase"]),
        ("(?i:a)b", ["Ab"], ["aB"]),
        ("a(?i)b|c", ["aB", "C"], ["Ab"]),
        (r"\bfoo\b", ["a foo b", "foo"], ["food", "afoo"]),
        (r"\Bo", ["foo"], ["o"]),
        (r"\d+\.\d{2,3}$", ["1.25", "10.255"], ["1.2", "1,25", "1.2555 "]),
        (r"^\w+\s\S\D\W$", ["ab xy!"], ["ab xyz"]),
        ("[^a-c]", ["d"], ["a", "b"]),
        ("[]a]+$", ["]a]"], ["b"]),
        ("[a-]", ["-", "a"], ["b"]),
        (r"[\d\-x]", ["7", "-", "x"], ["a"]),
        ("[[:alpha:]_]+", ["q_"], ["12"]),
        ("^[[:^digit:]]$", ["a"], ["1"]),
        (r"\p{Lu}\pN", ["Ä7"], ["ä7"]),
        (r"^\PL$", ["1"], ["a"]),
        ("a{2}", ["aa"], ["a"]),
        ("a{,2}", ["a{,2}"], ["aa"]),
        ("x{1", ["x{1"], ["x"]),
        ("^(?:a|b)*?c+?$", ["abac", "cc"], ["ab"]),
        ("(?P<n>a)(?<m>b)", ["ab"], ["ba"]),
        (r"\Qa.b*\E+", ["a.b**"], ["axb"]),
        (r"\x41\x{1F600}\101\n", ["A\U0001f600A\n"], ["A"]),
        (r"\Aa\z", ["a"], ["ba"]),
        ("a||b", ["", "zzz"], []),
        ("^*a", ["a"], ["b"]),
        ("(?i)[^A]", ["b"], ["a"]),
        ("(?i)[A-Z]", ["a"], ["ß"]),
    ],
)
def test_a_pattern_means_what_it_means_to_re2(pattern: str, matching: list[str], other: list[str]) -> None:
    regex = Regex(pattern)
    assert [text for text in matching if not regex.search(text)] == []
    assert [text for text in other if regex.search(text)] == []


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[a", "[z-a]", "*", "a**", "a{2}{3}", "a{2,1}", "a{1001}", "(?=a)", "(?<!a)", r"\1", r"\q", "\\",
     r"\p{Klingon}", "[[:wrong:]]", r"\x{110000}", r"\xg0", "(?z)", "(?P<>a)", "(a{1000}){1000}", "(" * 60 + ")" * 60],
)  # fmt: skip
def test_what_re2_does_not_take_is_refused(pattern: str) -> None:
    with pytest.raises(RegexError):
        Regex(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "(a|aa)+$", "a*a*a*a*a*b", "((){1000}){1000}b", "(.*)*c"])
def test_patterns_that_make_backtracking_explode_answer(pattern: str) -> None:
    assert not Regex(pattern).search("a" * 4000 + "!")


def test_what_is_remembered_is_bounded_and_forgetting_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycontainerd.contracts.regex.MAX_EDGES", 50)
    regex = Regex("(a|b)*a(a|b){6}$")
    for number in range(512):
        text = f"{number:09b}".replace("0", "a").replace("1", "b")
        assert regex.search(text) == (text[2] == "a")
    assert len(regex._states) <= 51


def test_threads_share_a_pattern() -> None:
    regex = Regex("(a|b)*a(a|b){5}$")
    wrong: list[str] = []

    def look(seed: int) -> None:
        for number in range(300):
            text = f"{number * seed % 4096:012b}".replace("0", "a").replace("1", "b")
            if regex.search(text) != (text[6] == "a"):
                wrong.append(text)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in (7, 11, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", r"\b", "^", r"\n", "1"])


def _pairs(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join).map("(?:{})".format),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    )


@settings(max_examples=300)
@given(st.recursive(ATOMS, _pairs, max_leaves=8), st.text("ab1 \n_", max_size=8))
def test_it_agrees_with_pythons_engine_where_both_speak_the_same_language(pattern: str, text: str) -> None:
    assert Regex(pattern).search(text) == (re.search(pattern, text, re.ASCII) is not None)


@given(st.text(max_size=30))
def test_any_text_compiles_or_is_refused(pattern: str) -> None:
    try:
        Regex(pattern).search(pattern)
    except RegexError:
        pass
