"""The plugin graph as Graphviz reads it."""

from __future__ import annotations

from pycontainerd.client.introspection import Plugin
from pycontainerd.ctr.plugin_graph import below, dot


def plugin(id, type="io.containerd.t.v1", error="", **kwargs):
    told = {f"io.pycontainerd.{key.replace('_', '-')}": value for key, value in kwargs.pop("told", {}).items()}
    return Plugin(type, id, exports=told, code="UNAVAILABLE" if error else "", error=error, **kwargs)


def known(*plugins):
    return {one.uri: one for one in plugins}


def lines(plugins):
    return [line.strip() for line in dot(plugins).splitlines()]


def test_a_node_has_the_colour_of_its_state_and_its_sentence_as_tooltip():
    text = dot(known(plugin("bad", error='no "disk"', told={"state": "failed", "package": "d 1"}), plugin("good")))
    assert 'label="t.v1\\nbad\\nfailed", fillcolor=tomato, tooltip="no \\"disk\\"\\nd 1"' in text
    assert 'label="t.v1\\ngood\\nok", fillcolor=palegreen' in text


def test_arrows_lead_to_what_is_required_by_type_or_uri_and_the_way_to_the_cause_is_red():
    store = plugin("s", "io.containerd.store.v1", "off", told={"state": "disabled"})
    told = {"state": "blocked", "blocked_by": store.uri, "wants": "io.containerd.store.v1"}
    top = plugin("top", error="off", requires=["io.containerd.store.v1", "io.containerd.none.v1"], told=told)
    found = lines(known(top, store))
    assert f'"{top.uri}" -> "{store.uri}" [color=red, penwidth=2];' in found
    assert f'"{top.uri}" -> "{store.uri}" [style=dotted];' in found
    assert f'"{top.uri}" -> "io.containerd.none.v1";' in found
    assert '"io.containerd.none.v1" [style=dashed, color=red, tooltip="nothing of this name"];' in found


def test_below_a_plugin_is_all_that_it_requires():
    a, b = plugin("a", requires=["io.containerd.t.v1.b"]), plugin("b", requires=["io.containerd.u.v1"])
    c, other = plugin("c", "io.containerd.u.v1"), plugin("d", requires=["*", "io.containerd.t.v1.d"])
    assert list(below(a.uri, known(a, b, c, other))) == [a.uri, b.uri, c.uri]
    assert list(below(other.uri, known(a, b, c, other))) == [other.uri]


def test_a_go_containerds_plugins_have_the_states_that_its_tool_shows():
    assert plugin("a").state == "ok"
    assert plugin("a", error="no zfs: skip plugin").state == "skip"
    assert plugin("a", error="broken").state == "error"
    assert plugin("a", error="no zfs: skip plugin").sentence == "no zfs"
