"""Content stores and differs in other processes, under a daemon and under its clients."""

from __future__ import annotations

import os

import pytest

from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root

CONTENT = """
disabled_plugins = ["io.containerd.content.v1.content"]
[proxy_plugins.remote]
type = "content"
address = "{address}"
namespace = "front"
lease = "front"
"""
# A table of the main file comes last in it, so what is of the top has to be in a file of its own.
DIFF = """
[proxy_plugins.remote]
type = "diff"
address = "{address}"
[plugins."io.containerd.service.v1.diff-service"]
default = ["remote", "walking"]
"""


@pytest.fixture(params=["debian", "script"])
def store(request: pytest.FixtureRequest) -> str:
    """The address of a content store: the Go containerd's, or a script's."""
    name = {"debian": "debian_containerd", "script": "backend"}[request.param]
    address = str(request.getfixturevalue(name).address)
    if request.param != "script":
        Ctr(OURS, address, "front")("leases", "create", "--id", "front", "--expires", "0")
    return address


def dropin(daemon: Daemon, text: str) -> None:
    """Give the daemon a second config file."""
    with open(f"{daemon.directory}/config.toml") as file:
        main = file.read()
    with open(f"{daemon.directory}/more.toml", "w") as file:
        file.write(f"version = 2\n{text}")
    with open(f"{daemon.directory}/config.toml", "w") as file:
        file.write(f'imports = ["{daemon.directory}/more.toml"]\n{main}')


def test_images_live_in_a_store_in_another_process(store: str, image_archive: str) -> None:
    with_store = Daemon.ours()
    dropin(with_store, CONTENT.format(address=store))
    with with_store as daemon:
        ctr = Ctr(OURS, daemon.address)
        ctr("images", "import", image_archive)
        assert IMAGE in ctr("images", "ls")
        digest = ctr("content", "ls", "-q").split()[0]
        whole = ctr("content", "get", digest)
        assert whole
        other = Ctr(OURS, daemon.address)
        other("images", "import", image_archive)  # what another namespace has is not written again
        assert other("content", "get", digest) == whole
        ctr("images", "rm", IMAGE)
        assert not os.path.exists(f"{daemon.root}/io.containerd.content.v1.content/blobs/sha256")


def test_layers_are_applied_by_the_first_differ_that_can(process, image_archive: str) -> None:
    with Daemon.ours(config=DIFF.format(address=process.address)) as daemon:
        ctr = Ctr(OURS, daemon.address)
        ctr("images", "import", image_archive)  # the remote one is not there yet: the other does it
        process.start()
        eventually(lambda: "remote" in up(ctr), "the differ has bound")
        other = Ctr(OURS, daemon.address)
        ctr("snapshots", "prepare", "a")
        code, _, error = other.status("images", "import", image_archive)
        assert "Apply" in [call[0] for call in process.calls()], error
        assert [call[1] for call in process.calls() if call[0] == "Apply"] == [other.namespace]
        # It looks for the layer in its own store, where it is not: that is an error of the differ's, not a refusal.
        assert code != 0
        assert "io.containerd.differ.v1.remote" in error


def up(ctr: Ctr) -> list[str]:
    """The ids of the differs that are up."""
    lines = [line.split() for line in ctr("plugins", "ls").splitlines()]
    return [words[1] for words in lines if words[0] == "io.containerd.differ.v1" and words[3] == "ok"]
