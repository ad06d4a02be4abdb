"""The order of plugins."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.kernel import CycleError, Registration
from pycontainerd.kernel.graph import resolve

TYPE = "t.v1"


def plugin(id, requires=(), wants=(), type=TYPE):
    return Registration(type=type, id=id, requires=tuple(requires), wants=tuple(wants), init=lambda ctx: None)


def test_a_required_type_comes_first_with_all_its_plugins():
    graph = resolve([plugin("z", ["store.v1"]), plugin("b", type="store.v1"), plugin("a", type="store.v1")])
    assert graph.order == ["store.v1.a", "store.v1.b", "t.v1.z"]


def test_what_is_wanted_comes_first_and_may_be_absent():
    graph = resolve([plugin("a", wants=["t.v1.b", "t.v1.not-there", "other.v1"]), plugin("b")])
    assert graph.order == ["t.v1.b", "t.v1.a"]


def test_a_cycle_is_printed_whole_without_what_only_leads_to_it():
    ring = [plugin("a", ["t.v1.b"]), plugin("b", ["t.v1.c"]), plugin("c", ["t.v1.a"]), plugin("x", ["t.v1.a"])]
    with pytest.raises(CycleError) as caught:
        resolve(ring)
    assert str(caught.value) == ("plugins require each other in a cycle: t.v1.a -> t.v1.b -> t.v1.c -> t.v1.a")


def test_a_plugin_that_requires_itself_is_a_cycle():
    with pytest.raises(CycleError, match=r"t\.v1\.a -> t\.v1\.a"):
        resolve([plugin("a", ["t.v1.a"])])


def test_ten_thousand_plugins_in_one_chain_resolve():
    chain = [plugin(f"p{n:05}", [f"t.v1.p{n - 1:05}"] if n else []) for n in range(10_000)]
    random.Random(1).shuffle(chain)
    assert resolve(chain).order == sorted(one.uri for one in chain)


def test_a_cycle_of_ten_thousand_is_found_without_recursion():
    ring = [plugin(f"p{n}", [f"t.v1.p{(n + 1) % 10_000}"]) for n in range(10_000)]
    with pytest.raises(CycleError) as caught:
        resolve(ring)
    assert len(caught.value.cycle) == 10_000


@st.composite
def dags(draw):
    size = draw(st.integers(1, 12))
    pick = st.lists(st.integers(0, 11), max_size=4)
    return [plugin(f"n{n}", [f"t.v1.n{m}" for m in draw(pick) if m < n]) for n in range(size)]


@settings(max_examples=60, deadline=None)
@given(dags(), st.randoms(use_true_random=False))
def test_the_order_depends_on_the_set_alone_and_respects_every_requirement(plugins, rng):
    shuffled = list(plugins)
    rng.shuffle(shuffled)
    graph = resolve(shuffled)
    assert graph == resolve(plugins)
    place = {uri: index for index, uri in enumerate(graph.order)}
    assert all(place[name] < place[one.uri] for one in plugins for name in one.requires)
