"""The runtimes, in the suite for all runtimes."""

from __future__ import annotations

import pytest

from pycontainerd.contracts.runtime import RuntimeHandler
from pycontainerd.testing.runtimes import RuntimeSuite
from pycontainerd_runtime_runc.plugin import RuncHandler


class TestRunc(RuntimeSuite):
    @pytest.fixture
    def handler(self) -> RuntimeHandler:
        return RuncHandler()
