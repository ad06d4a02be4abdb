from __future__ import annotations

from pycontainerd.shim.nursery import load_driver
from pycontainerd.shim.runc import RuncDriver
from pycontainerd_runtime_runc.plugin import RuncHandler, registration


def test_the_handler_claims_the_runtime_of_runc_and_names_its_driver():
    handler = RuncHandler()
    assert handler.name == "io.containerd.runc.v2"
    assert isinstance(load_driver(handler.driver), RuncDriver)
    assert (registration.type, registration.id) == ("io.containerd.runtime-handler.v1", "runc")
