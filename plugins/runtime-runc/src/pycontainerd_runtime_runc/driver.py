"""What the shim imports to run containers with runc."""

from __future__ import annotations

from pycontainerd.shim.runc import RuncDriver

driver = RuncDriver(
    "runc", hint="install runc (Debian, Fedora: the package runc), or set BinaryName in the runtime's options"
)
