"""The executable containerd-shim-pycrun-v2 under the Go containerd, and `ctr run` with crun under ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from pycontainerd.testing import needs
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = [pytest.mark.root, pytest.mark.interop]
# crun refuses hybrid cgroups. Where this machine has them, the daemon runs where their second half is not mounted.
SCRIPT = 'if [ -e /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi; exec "$@"'
HANDLER = "io.containerd.runtime-handler.v1.crun"


@pytest.fixture(params=["go", "ours"])
def run(request: pytest.FixtureRequest, image_archive: str) -> Iterator[Ctr]:
    """A client of a daemon that has the image."""
    needs.command("crun")
    unshared = [needs.command("unshare"), "--mount", "sh", "-c", SCRIPT, "sh"]
    ours = [sys.executable, "-m", "pycontainerd.server.main"]
    command = ours if request.param == "ours" else [needs.command("containerd")]
    path = f"{os.path.dirname(sys.executable)}:{needs.PATH}"
    with Daemon(request.param, [*unshared, *command], environment={"PATH": path}) as daemon:
        client = OURS if request.param == "ours" else (needs.command("ctr"),)
        ctr = Ctr(client, daemon.address)
        ctr("images", "import", image_archive)
        yield ctr
        assert daemon.leftovers() == []


def test_a_container_runs_and_its_output_and_status_arrive(run: Ctr, request: pytest.FixtureRequest) -> None:
    ours = "ours" in request.node.name
    runtime = "io.containerd.crun.v2" if ours else "io.containerd.pycrun.v2"
    script = "echo hello; cat /proc/self/comm; exit 7"
    code, out, error = run.status("run", "--rm", "--runtime", runtime, IMAGE, "one", "/bin/sh", "-c", script)
    assert (code, out) == (7, "hello\ncat\n"), error
    if ours:
        shown = run("plugins", "ls", "-d", "id==crun")
        assert "version" in shown
        assert "SECCOMP" in shown
        assert "problem" not in shown
