"""Marking: against a model that is too simple to be wrong, and case by case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.gc import Entry, Node
from pycontainerd_gc import labels as rules
from pycontainerd_gc.mark import Marking

NOW = 1_800_000_000.0
PAST = datetime.fromtimestamp(NOW - 60, UTC).isoformat().replace("+00:00", "Z")
FUTURE = datetime.fromtimestamp(NOW + 60, UTC).isoformat().replace("+00:00", "Z")
OVL = "snapshots/overlayfs"
GC = "containerd.io/gc."
_NAMES = {"content": "content", "images": "image", OVL: "snapshot.overlayfs", "containers": "container"}


def n(kind: str, key: str, namespace: str = "a") -> Node:
    return Node(kind, namespace, key)


def blob(key: str, /, **labels: str) -> Entry:
    return Entry(n("content", key), {GC + name.replace("__", "."): value for name, value in labels.items()})


def image(key: str, target: str, labels: dict[str, str] | None = None) -> Entry:
    return Entry(n("images", key), labels or {}, (n("content", target),))


def snapshot(key: str, parent: str = "", labels: dict[str, str] | None = None) -> Entry:
    return Entry(n(OVL, key), labels or {}, (n(OVL, parent),) if parent else ())


def lease(key: str, *held: Node, labels: dict[str, str] | None = None) -> Entry:
    return Entry(n("leases", key), labels or {}, held)


def kept(*entries: Entry, now: float = NOW) -> set[str]:
    marking = Marking(entries, now)
    return {entry.node.key for entry in entries if marking.live(entry.node)}


# A world of a few names, so that references hit.
_KEYS = st.sampled_from("abcd")
_TARGETS = st.tuples(st.sampled_from(["content", "images", OVL, "containers"]), _KEYS)
_LABELS = st.dictionaries(
    st.one_of(
        st.builds(lambda t, i: f"{GC}ref.{_NAMES[t[0]]}{'/' if t[0] == OVL else '.'}{i}", _TARGETS, st.integers(0, 2)),
        st.builds(lambda t, i: f"{GC}bref.{_NAMES[t[0]]}{'/' if t[0] == OVL else '.'}{i}", _TARGETS, st.integers(0, 2)),
        st.sampled_from(
            [f"{GC}root", f"{GC}expire", f"{GC}flat", f"{GC}cond.snapshot.overlayfs", f"{GC}cond.value-usedat"]
        ),
    ),
    st.sampled_from([*"abcd", PAST, FUTURE, "usedat<10m|a", "usedat>10m,usedat<30s|b", "usedat<0|c", "never<1s|d"]),
    max_size=3,
)


@st.composite
def worlds(draw: st.DrawFn) -> list[Entry]:
    found = []
    for kind in ("content", "images", OVL, "containers", "leases", "ingests", "sandboxes"):
        for key in draw(st.sets(_KEYS, max_size=4)):
            labels = draw(_LABELS) if kind != "ingests" else {}
            refs: list[Node] = []
            if kind == OVL:
                refs = [n(OVL, draw(_KEYS))] if draw(st.booleans()) else []
            elif kind in ("images", "ingests"):
                refs = [n("content", draw(_KEYS))]
            elif kind == "containers":
                refs = [n(OVL, draw(_KEYS))]
            elif kind == "leases":
                held = st.tuples(st.sampled_from(["content", "images", OVL, "ingests"]), _KEYS)
                refs = [n(*one) for one in draw(st.lists(held, max_size=3))]
            expires = draw(st.sampled_from([0, int((NOW - 5) * 1e9), int((NOW + 5) * 1e9)])) if kind == "ingests" else 0
            found.append(Entry(n(kind, key), labels, refs, expires))
    return found


def model(entries: list[Entry]) -> set[Node]:
    """By the words of the documentation, again and again until nothing changes. ``(node, deep)``."""
    there = {entry.node: entry for entry in entries}
    live: set[tuple[Node, bool]] = set()
    used = {e.node: list(rules.used_at(e.labels)) for e in entries if e.node.kind == OVL}
    for entry in entries:
        kind, until = entry.node.kind, entry.labels.get(f"{GC}expire")
        expired = until == PAST
        if kind in ("containers", "sandboxes") or (kind in ("images", "leases") and not expired):
            live.add((entry.node, True))
        if kind == "leases" and not expired:
            flat = f"{GC}flat" in entry.labels
            live |= {(node, not flat or node.kind == "ingests") for node in entry.refs}
        if kind in ("content", OVL) and f"{GC}root" in entry.labels:
            live.add((entry.node, True))
        if kind == "ingests" and entry.expires > NOW * 1e9:
            live.add((entry.node, True))
    while True:
        more = set(live)
        for node, deep in live:
            entry = there.get(node)
            if entry and node.kind != "leases" and (deep or node.kind in (OVL, "images")):
                more |= {(target, deep) for target in entry.refs}
            if not deep:
                continue
            if entry and node.kind not in ("leases", "ingests"):
                more |= {(n(kind, key), True) for _, kind, key in rules.references(entry.labels)}
            for other in (one for one in entries if one.node.kind != "leases"):
                for _, kind, key in rules.back_references(other.labels):
                    if n(kind, key) == node:
                        more.add((other.node, True))
            if entry and node.kind in ("content", "images"):
                for condition in rules.conditions(entry.labels):
                    target = n(condition.kind, condition.key)
                    if any(condition.holds(moment, NOW) for moment in used.get(target, ())):
                        more.add((target, True))
        if more == live:
            return {node for node, _ in live}
        live = more


@settings(max_examples=120, deadline=None)
@given(worlds())
def test_marking_keeps_what_the_simple_model_keeps(world: list[Entry]) -> None:
    marking = Marking(world, NOW)
    expected = model(world)
    assert {e.node for e in world if marking.live(e.node)} == {e.node for e in world if e.node in expected}


@settings(max_examples=60, deadline=None)
@given(worlds(), worlds())
def test_revived_is_all_that_a_new_marking_would_keep(before: list[Entry], written: list[Entry]) -> None:
    marking = Marking(before, NOW)
    marking.revive([entry.node for entry in written], written)
    after = {entry.node: entry for entry in [*before, *written]}
    fresh = Marking(after.values(), NOW)
    assert not [node for node in after if fresh.live(node) and not marking.live(node)]


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_garbage_is_everything_collectable_that_is_not_kept_and_children_come_first(world: list[Entry]) -> None:
    marking = Marking(world, NOW)
    garbage = marking.garbage()
    kinds = ("content", "images", OVL, "leases", "ingests")
    assert set(garbage) == {e.node for e in world if e.node.kind in kinds and not marking.live(e.node)}
    assert len(set(garbage)) == len(garbage)


def test_snapshots_go_before_their_parents() -> None:
    garbage = Marking([snapshot("a"), snapshot("b", "a"), snapshot("c", "b"), snapshot("d", "c")], NOW).garbage()
    assert [node.key for node in garbage] == ["d", "c", "b", "a"]


def test_an_image_keeps_its_blobs_and_through_the_config_the_snapshots_of_its_layers() -> None:
    world = [
        image("i", "m"),
        blob("m", ref__content__config="c", ref__content__l__0="l"),
        blob("c", ref__snapshot__overlayfs="s2"),
        blob("l"),
        snapshot("s1"),
        snapshot("s2", "s1"),
        blob("other"),
        snapshot("s3"),
    ]
    assert kept(*world) == {"i", "m", "c", "l", "s1", "s2"}


def test_names_after_a_label_may_be_anything_but_its_word_must_end() -> None:
    assert kept(
        blob("r", root="x", ref__content="a", **{"ref.content/x.y": "b", "ref.contents": "c", "ref.content-x": "d"}),
        *map(blob, "abcd"),
    ) == {"r", "a", "b"}


def test_an_expired_lease_and_an_expired_image_keep_nothing() -> None:
    past, future = {f"{GC}expire": PAST}, {f"{GC}expire": FUTURE}
    world = [
        lease("old", n("content", "a"), labels=past),
        lease("new", n("content", "b"), labels=future),
        image("i", "c", past),
        image("j", "d", future),
        *map(blob, "abcd"),
    ]
    assert kept(*world) == {"new", "j", "b", "d"}
    assert Marking(world, NOW).next_expiry == NOW + 60


@pytest.mark.parametrize(
    "text", ["soon", "2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"]
)
def test_an_expiry_that_is_no_time_never_comes(text: str) -> None:
    assert kept(lease("l", n("content", "a"), labels={f"{GC}expire": text}), blob("a")) == {"l", "a"}


def test_a_flat_lease_keeps_parents_and_targets_but_not_what_labels_say() -> None:
    flat = {f"{GC}flat": "true"}
    world = [
        lease("l", n("content", "m"), n(OVL, "s2"), n("images", "i"), labels=flat),
        blob("m", ref__content="x"),
        blob("x"),
        snapshot("s1"),
        snapshot("s2", "s1", {f"{GC}ref.content": "y"}),
        blob("y"),
        image("i", "t", {f"{GC}expire": PAST}),
        blob("t", ref__content="x"),
    ]
    assert kept(*world) == {"l", "m", "s1", "s2", "i", "t"}


def test_a_back_reference_lives_as_long_as_what_it_names() -> None:
    back = blob("b", bref__container="c")
    assert kept(back) == set()
    assert kept(back, Entry(n("containers", "c"))) == {"b", "c"}


def test_a_condition_keeps_a_snapshot_while_it_holds() -> None:
    def world(used: float) -> list[Entry]:
        when = datetime.fromtimestamp(used, UTC).isoformat().replace("+00:00", "Z")
        return [
            image("i", "m"),
            blob("m", **{"cond.snapshot.overlayfs/x": "usedat<1h|s"}),
            snapshot("s", labels={f"{GC}cond.value-usedat": when}),
        ]

    assert kept(*world(NOW - 1800)) == {"i", "m", "s"}
    assert kept(*world(NOW - 7200)) == {"i", "m"}


def test_namespaces_keep_nothing_of_each_other() -> None:
    other = Entry(Node("content", "b", "x"))
    marking = Marking([image("i", "x"), other], NOW)
    assert not marking.live(other.node)


def test_long_chains_are_no_problem() -> None:
    depth = 20_000
    chain = [snapshot(str(i), str(i - 1) if i else "") for i in range(depth)]
    assert len(kept(*chain, Entry(n("containers", "c"), {}, (n(OVL, str(depth - 1)),)))) == depth + 1
    assert len(Marking(chain, NOW).garbage()) == depth
