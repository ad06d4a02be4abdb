"""References name their host."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.registry.reference import Reference, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker.io/library/alpine:3", Reference("docker.io", "library/alpine", "3")),
        ("localhost:5000/a:b", Reference("localhost:5000", "a", "b")),
        ("[::1]:5000/a/b__c:v1.2_x", Reference("[::1]:5000", "a/b__c", "v1.2_x")),
        (f"r.test/a@{DIGEST}", Reference("r.test", "a", "", DIGEST)),
        (f"r.test/a:t@{DIGEST}", Reference("r.test", "a", "t", DIGEST)),
    ],
)
def test_a_reference_has_host_path_tag_and_digest(text, expected):
    assert parse(text) == expected
    assert str(expected) == text


def test_the_digest_is_what_a_registry_is_asked_for():
    assert parse(f"r.test/a:t@{DIGEST}").object == DIGEST


@pytest.mark.parametrize(
    "text",
    ["", "alpine", "alpine:3", "r.test/a", "r.test/A:x", "r.test/../a:x", "r.test//a:x", "r.test/a:-x", "r.test/a@sha256:1",
     "user:pw@r.test/a:b", "r.test/a:x y", "r.test/a:x\n", "http://r.test/a:x", "r.test/" + "a" * 2000 + ":x"],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(InvalidArgument):
        parse(text)


@settings(max_examples=150)
@given(st.text(st.sampled_from("ab./:@-_[]0é \n"), max_size=40))
def test_what_is_accepted_reads_back_the_same(text):
    try:
        found = parse(text)
    except InvalidArgument:
        return
    assert str(found) == text
    assert ".." not in found.path.split("/")
