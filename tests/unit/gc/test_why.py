"""The way from a root."""

from __future__ import annotations

import pytest

from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.gc import Entry, Node, Step
from pycontainerd_gc import why
from pycontainerd_gc.mark import Marking

OVL = "snapshots/overlayfs"
LONG = "sha256:" + "ab" * 32
GC = "containerd.io/gc."


def n(kind: str, key: str) -> Node:
    return Node(kind, "a", key)


def steps(marking: Marking, key: str) -> list[tuple[str, str]]:
    return [(step.node.key, step.by) for step in why.path(marking, why.find(marking, "a", key))]


def test_the_shortest_way_is_said_with_what_each_step_is_by() -> None:
    world = [
        Entry(n("images", "long"), {}, (n("content", "m"),)),
        Entry(n("content", "m"), {f"{GC}ref.snapshot.overlayfs": "s"}),
        Entry(n(OVL, "s"), {}, (n(OVL, "base"),)),
        Entry(n(OVL, "base")),
        Entry(n("containers", "c"), {}, (n(OVL, "s"),)),
    ]
    marking = Marking(world, 0)
    assert steps(marking, "base") == [("c", "a container"), ("s", "its snapshot"), ("base", "its parent")]
    assert steps(marking, "m") == [("long", "an image"), ("m", "its target")]
    assert steps(marking, "images/long") == [("long", "an image")]


def test_labels_back_references_and_flat_leases_are_ways_too() -> None:
    world = [
        Entry(n("leases", "l"), {f"{GC}flat": "1"}, (n("content", "held"), n(OVL, "s"))),
        Entry(n("content", "held"), {f"{GC}ref.content": "not-kept"}),
        Entry(n("content", "not-kept")),
        Entry(n(OVL, "s"), {}, (n(OVL, "base"),)),
        Entry(n(OVL, "base")),
        Entry(n("content", "root"), {f"{GC}root": "1"}),
        Entry(n("content", "child"), {f"{GC}bref.content.x": "root"}),
    ]
    marking = Marking(world, 0)
    flat = "the lease, which is flat"
    assert steps(marking, "held") == [("l", "a lease"), ("held", flat)]
    assert steps(marking, "base") == [("l", "a lease"), ("s", flat), ("base", "its parent")]
    assert steps(marking, "not-kept") == []
    assert steps(marking, "child") == [("root", f"label {GC}root"), ("child", f"{GC}bref.content.x")]


def test_things_are_found_by_kind_and_by_a_short_digest_and_a_miss_says_so() -> None:
    world = [Entry(n("content", LONG)), Entry(n("containers", "x"), {}, (n(OVL, "x"),)), Entry(n(OVL, "x"))]
    marking = Marking(world, 0)
    assert why.find(marking, "a", LONG[:12]) == n("content", LONG)
    assert why.find(marking, "a", "abab") == n("content", LONG)
    assert why.find(marking, "a", "x") == n(OVL, "x")
    assert why.find(marking, "a", "containers/x") == n("containers", "x")
    assert why.path(marking, n(OVL, "x")) == [
        Step(n("containers", "x"), "a container"),
        Step(n(OVL, "x"), "its snapshot"),
    ]
    for namespace, key in (("a", "aba"), ("b", "x"), ("a", "")):
        with pytest.raises(NotFound, match="nothing in namespace"):
            why.find(marking, namespace, key)
