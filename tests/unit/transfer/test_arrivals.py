"""Who works on a pull while it runs."""

from __future__ import annotations

import threading

import pytest

from pycontainerd.contracts import media_types
from pycontainerd.contracts.errors import Aborted
from pycontainerd.contracts.types import Descriptor
from pycontainerd.transfer.arrivals import Arrivals


def target(media_type, number):
    return Descriptor(media_type, f"sha256:{number:064x}", 1)


INDEX, MANIFEST = target(media_types.OCI_INDEX, 1), target(media_types.OCI_MANIFEST, 2)
CONFIG, LAYER = target(media_types.OCI_CONFIG, 3), target(media_types.OCI_LAYER, 4)


def test_a_pull_is_described_when_all_but_the_layers_is_there():
    arrivals = Arrivals()
    arrivals.expect([MANIFEST])
    arrivals.arrived(INDEX)
    arrivals.expect([CONFIG, LAYER])
    arrivals.arrived(MANIFEST)
    assert not arrivals.described.is_set()
    arrivals.arrived(CONFIG)
    assert arrivals.described.is_set()


def test_who_waits_goes_on_when_the_layer_arrives_or_cannot_any_more():
    for happen in (lambda arrivals: arrivals.arrived(LAYER), lambda arrivals: arrivals.end(failed=False)):
        arrivals = Arrivals()
        waiting = threading.Thread(target=arrivals.wait, args=(LAYER,))
        waiting.start()
        happen(arrivals)
        waiting.join(30)
        assert not waiting.is_alive()


def test_who_waits_for_a_pull_that_failed_is_told():
    arrivals = Arrivals()
    arrivals.end(failed=True)
    arrivals.end(failed=False)
    with pytest.raises(Aborted):
        arrivals.wait(LAYER)
