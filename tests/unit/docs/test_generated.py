"""The generated parts of the documentation are those of this code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
assert spec is not None
assert spec.loader is not None
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", generate.FILES)
def test_the_plugin_graph_is_up_to_date(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert generate.drawn(text) == text, f"the graph in {name} is stale: run make docs"


@pytest.mark.parametrize("name", generate.WHOLE)
def test_what_is_made_as_a_whole_is_up_to_date(name):
    assert (ROOT / name).read_text(encoding="utf-8") == generate.WHOLE[name](), f"{name} is stale: run make docs"


def test_every_plugin_is_drawn_once_and_in_a_layer():
    known = generate.registrations()
    picture = generate.graph()
    for uri in known:
        assert picture.count(f"    {generate._key(uri)}[") == 1
        assert generate.layer(uri) in generate.LAYERS


def test_an_arrow_that_follows_from_others_is_left_out():
    edges = generate.needs(generate.registrations())
    assert edges["io.containerd.grpc.v1.images"] == ["io.containerd.service.v1.images-service"]
