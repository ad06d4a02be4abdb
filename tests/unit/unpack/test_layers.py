"""What of a manifest is unpacked, and what is refused."""

from __future__ import annotations

import json

import attrs
import pytest

from pycontainerd.content.local import LocalStore
from pycontainerd.contracts import media_types
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import Descriptor
from pycontainerd.transfer.contents import write
from pycontainerd.unpack.unpacker import Unpacker

LAYER = Descriptor(media_types.OCI_LAYER_GZIP, "sha256:" + "1" * 64, 1)
DIFF_ID = "sha256:" + "2" * 64


@pytest.fixture
def layers(tmp_path):
    store = LocalStore(str(tmp_path))

    def find(*given, config_type=media_types.OCI_CONFIG, diff_ids=(DIFF_ID,)):
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}
        return Unpacker.layers(store, write(store, json.dumps(config).encode(), config_type), given)

    return find


def test_layers_come_with_their_diff_and_chain_ids(layers):
    (layer,) = layers(LAYER)
    assert (layer.diff_id, layer.chain_id, layer.parent) == (DIFF_ID, DIFF_ID, "")


@pytest.mark.parametrize(
    "media_type", ["application/x-unknown", media_types.OCI_LAYER_GZIP + "+encrypted", "text/plain"]
)
def test_a_layer_of_an_unknown_type_is_refused_by_name(layers, media_type):
    with pytest.raises(InvalidArgument, match="cannot be unpacked"):
        layers(attrs.evolve(LAYER, media_type=media_type))


def test_artifacts_and_attestations_have_nothing_to_unpack(layers):
    assert layers(LAYER, config_type=media_types.OCI_EMPTY) == []
    assert layers(attrs.evolve(LAYER, media_type="application/vnd.in-toto+json")) == []
    assert layers(diff_ids=()) == []


def test_as_many_layers_as_diff_ids_are_needed(layers):
    with pytest.raises(InvalidArgument, match="diff_ids"):
        layers(LAYER, LAYER)
