"""The test kit's daemons: started, killed, started again, and nothing left of them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.sys.mountinfo import mounts_under
from pycontainerd.testing import leftovers
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = [pytest.mark.root, pytest.mark.interop]


@pytest.mark.parametrize("kind", ["go", "ours"])
def test_a_killed_daemon_with_a_running_container_leaves_nothing(kind: str, image_archive: str) -> None:
    with getattr(Daemon, kind)() as daemon:
        ctr = Ctr(OURS, daemon.address)
        ctr("images", "import", image_archive)
        ctr("run", "-d", IMAGE, "sleeper", "sleep", "1000")
        found = "\n".join(daemon.leftovers())
        for what in ("process", "sleep 1000", "mount", f"{ctr.namespace}/sleeper"):
            assert what in found
        daemon.kill()
        directory = daemon.directory
    assert leftovers.processes(directory) == []
    assert mounts_under(directory) == []
    assert not os.path.exists(directory)
    assert not os.path.exists(f"/run/containerd/runc/{ctr.namespace}")
    assert not any(ctr.namespace in names for _, names, _ in os.walk("/sys/fs/cgroup"))


@pytest.mark.parametrize("kind", ["go", "ours"])
def test_a_container_outlives_its_daemon(kind: str, image_archive: str) -> None:
    with getattr(Daemon, kind)() as daemon:
        ctr = Ctr(OURS, daemon.address)
        ctr("images", "import", image_archive)
        ctr("run", "-d", IMAGE, "sleeper", "sleep", "1000")
        daemon.kill()
        daemon.start()
        assert "RUNNING" in ctr("task", "ls")
        daemon.restart()
        ctr("containers", "rm", "--force", "sleeper")
        assert daemon.leftovers() == []


def test_a_daemon_that_does_not_start_says_why() -> None:
    with pytest.raises(FailedPrecondition, match=r"config\.toml"), Daemon.ours(config="this is not TOML"):
        pass


def test_another_daemon_is_not_touched(our_containerd: Any) -> None:
    with Daemon.ours():
        pass
    assert "Server:" in Ctr(OURS, our_containerd.address)("version")
