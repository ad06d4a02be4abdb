"""Which platforms run on which, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainerd.contracts import platforms
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import Platform


def order(text):
    return [platforms.format(platform) for platform in platforms.match_order(platforms.parse(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/riscv64", ["linux/riscv64"]),
    ],
)
def test_a_machine_runs_its_own_platform_and_then_the_older_ones(text, expected):
    assert order(text) == expected


def test_a_newer_arm64_runs_every_version_that_it_includes():
    assert order("linux/arm64/v9.1")[:4] == [
        "linux/arm64/v9.1",
        "linux/arm64/v9",
        "linux/arm64/v8.6",
        "linux/arm64/v8.5",
    ]
    assert order("linux/arm64/v9.1")[-5:-3] == ["linux/arm64", "linux/arm/v8"]
    assert order("linux/arm64/v8.2")[:3] == ["linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/x86_64", Platform("linux", "amd64")),
        ("linux/amd64/v1", Platform("linux", "amd64")),
        ("Linux/AArch64", Platform("linux", "arm64")),
        ("linux/arm64/8", Platform("linux", "arm64", "v8")),
        ("linux/arm/7", Platform("linux", "arm", "v7")),
        ("linux/armhf", Platform("linux", "arm")),
        ("linux/armel", Platform("linux", "arm", "v6")),
        ("linux/i386", Platform("linux", "386")),
        ("macos/arm64", Platform("darwin", "arm64")),
        ("windows(10.0.17763)/amd64", Platform("windows", "amd64", "", "10.0.17763")),
        ("linux(+sse4+gpu)/amd64", Platform("linux", "amd64", "", "", ("sse4", "gpu"))),
    ],
)
def test_platforms_are_read_in_every_usual_spelling(text, expected):
    assert platforms.parse(text) == expected


def test_what_a_lone_word_leaves_open_is_this_machines():
    here = platforms.default_platform()
    assert platforms.parse(here.os).architecture == here.architecture
    assert platforms.parse("s390x") == Platform(here.os, "s390x")


@pytest.mark.parametrize(
    "text", ["", "/", "linux/", "linux/amd64/v2/x", "no such os", "*/amd64", "something", "linux/am d64"]
)
def test_what_is_not_a_platform_is_refused(text):
    with pytest.raises(InvalidArgument):
        platforms.parse(text)


def test_the_best_candidate_wins_whatever_its_place():
    candidates = [Platform("linux", "arm", "v5"), Platform("windows", "arm", "v7"), Platform("linux", "arm", "v6")]
    machine = platforms.Matcher.running_on(platforms.parse("linux/arm/v7"))
    assert machine.match(candidates) == 2
    assert machine.match([]) is None
    assert machine.match([Platform("linux", "s390x")]) is None
    assert platforms.Matcher.exactly(platforms.parse("linux/arm/v7")).match(candidates) is None


def test_a_candidate_with_features_matches_only_where_they_exist_and_then_is_preferred():
    plain, special = Platform("linux", "amd64"), Platform("linux", "amd64", os_features=("gpu",))
    assert platforms.Matcher.running_on(plain).match([special, plain]) == 1
    assert platforms.Matcher.running_on(special).match([plain, special]) == 1


def test_windows_builds_must_be_equal():
    machine = platforms.Matcher.running_on(Platform("windows", "amd64", "", "10.0.17763.1"))
    old, same = Platform("windows", "amd64", "", "10.0.14393.9"), Platform("windows", "amd64", "", "10.0.17763.7")
    assert machine.match([old, same]) == 1


@given(
    st.sampled_from(["linux", "windows", "freebsd"]),
    st.sampled_from(["amd64", "arm64", "arm", "386", "riscv64"]),
    st.sampled_from(["", "v2", "v3", "v6", "v8", "v8.3", "v9.2"]),
    st.sampled_from(["", "10.0.1"]),
    st.lists(st.sampled_from(["a", "b+c", "d)e"]), unique=True),
)
def test_a_written_platform_reads_back_as_one_that_is_equal_when_normalized(
    os, architecture, variant, version, features
):
    platform = Platform(os, architecture, variant, version, tuple(features))
    again = platforms.parse(platforms.format(platform, full=True))
    assert platforms.normalize(again) == platforms.normalize(platform)
    assert platforms.normalize(platforms.normalize(platform)) == platforms.normalize(platform)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        platforms.match_order(platforms.parse(text))
    except InvalidArgument:
        pass
