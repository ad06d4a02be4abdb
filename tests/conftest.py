"""What a test's markers demand of the machine. Missing: skipped here, failed under CI."""

from __future__ import annotations

import pytest

from pycontainerd.testing import needs


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root"):
        needs.root()
    if item.get_closest_marker("interop"):
        for command in ("containerd", "ctr", "containerd-shim-runc-v2", "runc"):
            needs.command(command)
