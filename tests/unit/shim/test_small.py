"""What keeps a shim small: each page that it writes to is its own, and each module in the zygote is in the way."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each of these is a tenth to half of what the zygote holds without it.
HEAVY = {"asyncio", "attr", "google.protobuf", "inspect", "logging", "typing", "urllib.parse", "tempfile", "subprocess"}


def loaded(module):
    """The modules of a fresh interpreter after importing ``module``, beyond those it has anyway."""
    script = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "pycontainerd.shim.nursery",
        "pycontainerd.shim.main",
        "pycontainerd.shim.cleanup",
        "pycontainerd_runtime_runc.driver",
    ],
)
def test_a_shim_imports_nothing_heavy(module):
    assert not loaded(module) & HEAVY


def test_what_every_shim_needs_comes_without_json_and_regular_expressions():
    assert not loaded("pycontainerd.shim.process") & {"json", "re", "contextlib"}
