"""The executable containerd-shim-pycrun-v2."""

from __future__ import annotations

import os

from pycontainerd.shim import main as shim


def main() -> int:
    """The shim's command line, with crun's driver."""
    os.environ.setdefault(shim.DRIVER_VARIABLE, "pycontainerd_runtime_crun.driver:driver")
    return shim.main()
