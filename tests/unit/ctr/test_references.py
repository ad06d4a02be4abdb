"""Which labels keep layers."""

from __future__ import annotations

import pytest

from pycontainerd.ctr.references import is_layer_label


@pytest.mark.parametrize(
    ("rest", "layer"),
    [
        (".l.0", True),
        (".l.12", True),
        (".1", True),
        (".10", True),
        (".0", False),
        (".config", False),
        (".m.0", False),
        ("", False),
        (".1x", False),
    ],
)
def test_layers_are_told_from_the_config_and_manifests(rest: str, layer: bool) -> None:
    assert is_layer_label(f"containerd.io/gc.ref.content{rest}") is layer
