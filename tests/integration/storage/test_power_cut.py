"""After a start in another boot, with layers that were not known to be on disk."""

from __future__ import annotations

import glob
import os
import sqlite3

import pytest

from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root


def doubt(daemon: Daemon) -> None:
    """What a power cut leaves when it comes between the commit of layers and their sync."""
    database = sqlite3.connect(f"{daemon.root}/io.containerd.metadata.v1.bolt/metadata.db")
    database.execute(
        "INSERT INTO snapshot_syncs SELECT snapshotter, name, 'another boot', created FROM snapshots"
        " WHERE key LIKE 'sha256:%'"
    )
    database.commit()
    database.close()


def layers(ctr: Ctr) -> list[str]:
    return [line.split()[0] for line in ctr("snapshots", "ls").splitlines() if line.startswith("sha256:")]


def echo(ctr: Ctr, name: str) -> str:
    return ctr("run", "--rm", IMAGE, name, "/bin/sh", "-c", "echo ran")


def test_layers_in_doubt_are_gone_and_unpacked_anew_when_they_are_wanted(
    our_containerd: Daemon, image_archive: str
) -> None:
    ctr = Ctr(OURS, our_containerd.address)
    ctr("images", "import", image_archive)
    (layer,) = layers(ctr)
    our_containerd.stop()
    (shell,) = glob.glob(f"{our_containerd.root}/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/bin/sh")
    os.truncate(os.path.realpath(shell), 0) if not os.path.islink(shell) else os.unlink(shell)
    doubt(our_containerd)
    our_containerd.start()
    eventually(lambda: "it is removed, and unpacked anew when wanted" in our_containerd.log(), "the layer is gone")
    assert echo(ctr, "c1") == "ran\n"
    assert layers(ctr) == [layer]


@pytest.mark.parametrize("damaged", [False, True])
def test_layers_in_doubt_that_a_container_needs_are_looked_at(
    our_containerd: Daemon, image_archive: str, damaged: bool
) -> None:
    ctr = Ctr(OURS, our_containerd.address)
    ctr("images", "import", image_archive)
    ctr("containers", "create", IMAGE, "kept")
    our_containerd.stop()
    if damaged:
        (passwd,) = glob.glob(f"{our_containerd.root}/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/etc/passwd")
        os.truncate(passwd, 0)
    doubt(our_containerd)
    our_containerd.start()
    said = "a power cut has damaged a layer" if damaged else "may have damaged is whole"
    eventually(lambda: said in our_containerd.log(), said)
    assert ("/etc/passwd has 0 bytes" in our_containerd.log()) == damaged
    eventually(lambda: "verify-" not in ctr("snapshots", "ls"), "nothing is left of looking")
    assert len(layers(ctr)) == 1
    if not damaged:
        our_containerd.restart()
        assert our_containerd.log().count("may have damaged") == 1
        return
    status, out, _ = ctr.status("images", "verify", "--repair")
    assert (status, "in use by kept" in out) == (1, True)
    ctr("containers", "rm", "kept")
    ctr("images", "verify", "--repair")
    assert echo(ctr, "c1") == "ran\n"
