"""Images on snapshotters in other processes, and the collection of what they keep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = [pytest.mark.root, pytest.mark.interop]

CONFIG = """
[proxy_plugins.remote]
type = "snapshot"
address = "{address}"
timeouts = {{ List = "0.5s", Remove = "0.5s" }}
[proxy_plugins.lazy]
type = "snapshot"
address = "{address}"
"""


@pytest.fixture
def daemon(backend) -> Iterator[Daemon]:
    with Daemon.ours(config=CONFIG.format(address=backend.address)) as daemon:
        yield daemon
        assert daemon.leftovers() == []


def test_an_image_is_unpacked_and_run_on_a_remote_snapshotter(daemon: Daemon, image_archive: str) -> None:
    ctr = Ctr(OURS, daemon.address)
    ctr("images", "import", "--snapshotter", "remote", image_archive)
    assert "committed" in ctr("snapshots", "--snapshotter", "remote", "ls").lower()
    done = ctr("run", "--rm", "--snapshotter", "remote", IMAGE, "one", "/bin/sh", "-c", "echo $((6 * 7))")
    assert done == "42\n"
    assert [line for line in ctr("snapshots", "--snapshotter", "remote", "ls").splitlines() if "one" in line] == []


def test_layers_that_a_remote_snapshotter_has_are_not_unpacked(daemon: Daemon, backend, image_archive: str) -> None:
    ctr = Ctr(OURS, daemon.address)
    ctr("images", "import", "--snapshotter", "lazy", image_archive)
    listed = ctr("snapshots", "--snapshotter", "lazy", "ls").splitlines()[1:]
    assert listed
    for line in listed:
        assert line.startswith("sha256:")
    prepared = ctr("snapshots", "--snapshotter", "lazy", "prepare", "mine", listed[-1].split()[0])
    assert "Apply" not in [call[0] for call in backend.calls()]
    other = Ctr(OURS, daemon.address)
    other("images", "import", "--snapshotter", "lazy", image_archive)
    assert len(other("snapshots", "--snapshotter", "lazy", "ls").splitlines()) == len(listed) + 1
    assert prepared == ""


def test_a_snapshotter_that_hangs_ends_no_collection(daemon: Daemon, backend, image_archive: str) -> None:
    ctr = Ctr(OURS, daemon.address)
    ctr("images", "import", "--snapshotter", "remote", image_archive)
    ctr("images", "unpack", "--snapshotter", "native", IMAGE)
    with backend.hanging("Remove"), backend.hanging("List"):
        ctr("images", "rm", "--sync", IMAGE)
        assert ctr("content", "ls", "-q") == ""
        assert len(ctr("snapshots", "--snapshotter", "native", "ls").splitlines()) == 1
    assert backend.snapshots("remote") != []

    def collected() -> bool:
        lease = ctr("leases", "create").strip()
        ctr("leases", "rm", "--sync", lease)
        return backend.snapshots("remote") == []

    eventually(collected, "what could not be removed then is collected later")
