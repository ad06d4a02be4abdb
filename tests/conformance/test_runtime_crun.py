"""crun, in the suite for all runtimes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from pycontainerd.contracts.runtime import RuntimeHandler
from pycontainerd.testing import needs
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.runtimes import RuntimeSuite
from pycontainerd_runtime_crun.plugin import CrunHandler

# crun refuses hybrid cgroups. Where this machine has them, the daemon runs where their second half is not mounted.
_SCRIPT = 'if [ -e /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi; exec "$@"'


@pytest.fixture(scope="module")
def our_containerd_module() -> Iterator[Daemon]:
    needs.root()
    needs.command("crun")
    command = [needs.command("unshare"), "--mount", "sh", "-c", _SCRIPT, "sh"]
    with Daemon("ours", [*command, sys.executable, "-m", "pycontainerd.server.main"]) as daemon:
        yield daemon


class TestCrun(RuntimeSuite):
    @pytest.fixture
    def handler(self) -> RuntimeHandler:
        return CrunHandler()
