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


REHEARSAL = """
import os, sys
from pycontainerd.shim import rehearsal
if len(sys.argv) > 1:
    rehearsal._RUNTIME = sys.argv[1].encode()
names = []
mkdir = os.mkdir
os.mkdir = lambda path, mode: (names.append(path), mkdir(path, mode))
for _ in range(2):
    rehearsal.rehearse()
    print(len(os.listdir("/proc/self/fd")), *filter(os.path.exists, names), flush=True)
"""


@pytest.mark.parametrize("runtime", [None, "#!/bin/sh\nexit 1\n", "#!/no/such/shell\n"])
def test_a_rehearsal_leaves_nothing_and_says_when_it_fails(runtime):
    command = [sys.executable, "-c", REHEARSAL, *([runtime] if runtime else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        out, said = process.communicate(timeout=60)
    first, second = out.splitlines()
    assert first == second
    assert first.isdigit(), "it left its directory"
    assert bool(said) == bool(runtime)
    assert said.count("could not rehearse") == (2 if runtime else 0)
