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


def test_siblings_that_want_their_own_type_come_after_those_that_do_not():
    graph = resolve([plugin("a", wants=["t.v1"]), plugin("b", wants=["t.v1"]), plugin("c"), plugin("d")])
    assert graph.order == ["t.v1.c", "t.v1.d", "t.v1.a", "t.v1.b"]
    assert graph.before("t.v1.a") == ["t.v1.c", "t.v1.d"]


def test_a_cycle_through_a_type_is_printed_with_the_plugins_alone():
    with pytest.raises(CycleError) as caught:
        resolve([plugin("a", ["store.v1"]), plugin("s", ["t.v1.a"], type="store.v1")])
    assert caught.value.cycle == ("store.v1.s", "t.v1.a")
    with pytest.raises(CycleError, match=r"t\.v1\.a -> t\.v1\.a"):
        resolve([plugin("a", ["t.v1"])])


def test_many_that_require_a_type_of_many_cost_their_sum_and_not_their_product():
    graph = resolve(
        [*(plugin(f"p{n}", ["s.v1"]) for n in range(500)), *(plugin(f"s{n}", type="s.v1") for n in range(500))]
    )
    assert sum(len(names) for names in (*graph.direct.values(), *graph.groups.values())) == 1000
    assert len(graph.before("t.v1.p7")) == 500


def test_a_cycle_of_ten_thousand_is_printed_whole():
    ring = [plugin(f"p{n:04}", [f"t.v1.p{(n + 1) % 10_000:04}"]) for n in range(10_000)]
    with pytest.raises(CycleError) as caught:
        resolve(ring)
    assert str(caught.value).count(" -> ") == 10_000


@st.composite
def dags(draw):
    """Up to twelve plugins of three types; each may require plugins before it, and types that end before it."""
    size = draw(st.integers(1, 12))
    pick = st.lists(st.integers(0, 11), max_size=4)
    made = []
    for n in range(size):
        names = [f"t{m // 4}.v1.n{m}" for m in draw(pick) if m < n]
        types = [f"t{m}.v1" for m in draw(pick) if m < n // 4]
        made.append(plugin(f"n{n}", names, types, type=f"t{n // 4}.v1"))
    return made


@settings(max_examples=60, deadline=None)
@given(dags(), st.randoms(use_true_random=False))
def test_the_order_depends_on_the_set_alone_and_respects_every_requirement(plugins, rng):
    shuffled = list(plugins)
    rng.shuffle(shuffled)
    graph = resolve(shuffled)
    assert graph == resolve(plugins)
    place = {uri: index for index, uri in enumerate(graph.order)}
    for one in plugins:
        before = [*one.requires, *(other.uri for other in plugins if other.type in one.wants)]
        assert all(place[name] < place[one.uri] for name in before)
        assert graph.before(one.uri) == sorted(set(before))
