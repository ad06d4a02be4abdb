"""prune, df and the rules of the config, through ctr and a running daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon
from pycontainerd.testing.plugin import IMAGE

pytestmark = pytest.mark.root
SLEEP = ("/bin/sh", "-c", "while :; do sleep 100; done")


@pytest.fixture
def ctr(our_containerd_module: Daemon, image_archive: str) -> Iterator[Ctr]:
    """A namespace with one image, unpacked, under two names; and what is left of containers is removed."""
    made = Ctr(OURS, our_containerd_module.address)
    made("images", "import", image_archive)
    made("images", "tag", IMAGE, "local/other:2")
    yield made
    for name in made("containers", "ls", "-q").split():
        made("containers", "rm", "--force", name)


def pruned(ctr: Ctr, kind: str, *options: str) -> set[tuple[str, str]]:
    items = json.loads(ctr(kind, "prune", "-o", "json", *options))
    return {(item["node"][0], item["node"][2]) for item in items}


def images(ctr: Ctr) -> set[str]:
    return set(ctr("images", "ls", "-q").split())


def test_images_go_once_no_container_uses_them_with_all_that_they_alone_kept(ctr: Ctr) -> None:
    ctr("run", "-d", IMAGE, "c", *SLEEP)
    assert pruned(ctr, "images", "--all") == set()
    ctr("containers", "rm", "--force", "c")
    assert pruned(ctr, "images") == set()
    assert pruned(ctr, "images", "--all", "--older-than", "1h") == set()
    assert pruned(ctr, "images", "--all", "-f", "name==local/other:2") == {("images", "local/other:2")}
    assert images(ctr) == {IMAGE}
    plan = pruned(ctr, "images", "--all", "--dry-run")
    assert {kind for kind, _ in plan} == {"images", "content", "snapshots/overlayfs"}
    assert images(ctr) == {IMAGE}
    assert pruned(ctr, "images", "--all") == plan
    assert ctr("content", "ls", "-q") == ""
    assert len(ctr("snapshots", "ls").splitlines()) == 1


def test_containers_without_a_task_go_with_their_snapshots(ctr: Ctr) -> None:
    ctr("run", "-d", IMAGE, "runs", *SLEEP)
    ctr("containers", "create", IMAGE, "idle")
    assert pruned(ctr, "containers", "--dry-run") == {("containers", "idle"), ("snapshots/overlayfs", "idle")}
    assert pruned(ctr, "containers") == {("containers", "idle"), ("snapshots/overlayfs", "idle")}
    assert ctr("containers", "ls", "-q").split() == ["runs"]
    assert "RUNNING" in ctr("tasks", "ls")


def test_snapshots_blobs_and_leases_that_nothing_uses_go(ctr: Ctr) -> None:
    ctr("snapshots", "prepare", "mine")
    ctr("content", "ingest", "ref", input="only the label keeps this")
    ctr("leases", "create", "--id", "held", "--expires", "0s")
    assert pruned(ctr, "snapshots", "--older-than", "1d") == set()
    assert pruned(ctr, "snapshots") == {("snapshots/overlayfs", "mine")}
    assert {kind for kind, _ in pruned(ctr, "content")} <= {"content"}
    assert pruned(ctr, "leases") <= {("leases", "held")}
    assert images(ctr) == {IMAGE, "local/other:2"}


def test_references_to_layers_are_taken_away_and_the_layers_go(ctr: Ctr) -> None:
    before = set(ctr("content", "ls", "-q").split())
    plan = ctr("content", "prune", "references", "--dry").split()
    assert len(plan) >= 2
    assert set(ctr("content", "ls", "-q").split()) == before
    assert ctr("content", "prune", "references").split() == plan
    after = set(ctr("content", "ls", "-q").split())
    assert after < before
    assert ctr("content", "prune", "references") == ""
    ctr("run", "--rm", IMAGE, "c", "/bin/true")


def test_a_prune_says_what_went_in_events(ctr: Ctr, tmp_path: Path) -> None:
    heard = tmp_path / "events"
    with heard.open("w") as file:
        listener = ctr.start("events", stdout=file)

    def listens() -> bool:
        ctr("images", "tag", "--force", IMAGE, "local/mark:1")
        return bool(heard.read_text())

    try:
        eventually(listens, "the listener hears something")
        ctr("images", "prune", "--all", "-f", "name==local/other:2")
        eventually(
            lambda: any(
                "/images/delete" in line and "local/other:2" in line for line in heard.read_text().splitlines()
            ),
            "the event of the removal",
        )
    finally:
        listener.kill()
        listener.wait()


def test_df_has_every_byte_of_content_and_snapshots(ctr: Ctr, our_containerd_module: Daemon) -> None:
    ctr("run", "-d", IMAGE, "c", *SLEEP)
    found: dict[str, Any] = json.loads(ctr("df", "-o", "json"))
    owners = {(share["owner"], share["name"]): share for share in found["shares"]}
    assert owners.keys() == {("image", IMAGE), ("image", "local/other:2"), ("container", "c")}
    assert owners["image", IMAGE]["unique"] == 0
    assert owners["image", IMAGE]["shared"] == owners["image", "local/other:2"]["shared"] > 0
    assert owners["container", "c"]["unique"] > 0
    assert found["total"] == found["blobs"] + found["snapshots"]
    sizes = json.loads(ctr("content", "ls", "-o", "json"))
    assert found["blobs"] == sum(one["size"] for one in sizes)
    assert "total " in ctr("df", "-A")


def test_a_prune_of_a_go_containerd_s_images_is_done_by_the_client(
    debian_containerd_module: Daemon, image_archive: str
) -> None:
    ctr = Ctr(OURS, debian_containerd_module.address)
    ctr("images", "import", image_archive)
    assert pruned(ctr, "images") == set()
    assert pruned(ctr, "images", "--all", "--dry-run") == {("images", IMAGE)}
    assert pruned(ctr, "images", "--all") == {("images", IMAGE)}
    assert images(ctr) == set()
    assert ctr.status("containers", "prune")[0] == 7


_RULES = """
[plugins."io.containerd.gc.v1.scheduler"]
  policy_interval = "1s"
  pinned = ["local/pinned:*"]
  [[plugins."io.containerd.gc.v1.scheduler".policy]]
    namespaces = ["ruled"]
    keep_last_n_tags = 1
    filters = ["labels.keep!=yes"]
"""


def test_rules_remove_unused_images_by_themselves(image_archive: str) -> None:
    with Daemon.ours(config=_RULES) as daemon:
        ruled, other = Ctr(OURS, daemon.address, "ruled"), Ctr(OURS, daemon.address, "other")
        for ctr in (other, ruled):
            ctr("images", "import", image_archive)
            for name in ("local/pinned:1", "local/pinned:2", "local/a:1", "local/a:2"):
                ctr("images", "tag", IMAGE, name)
        eventually(lambda: "local/a:1" not in images(ruled), "the rule removes the older tag")
        assert images(ruled) == {IMAGE, "local/pinned:1", "local/pinned:2", "local/a:2"}
        assert len(images(other)) == 5
        assert "pruned" in daemon.log()


def test_mistakes_in_rules_are_found_by_config_check(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        'version = 3\n[plugins."io.containerd.gc.v1.scheduler"]\nschedule_delay = "soon"\n'
        '[[plugins."io.containerd.gc.v1.scheduler".policy]]\nmax_bytes = "many"\n'
    )
    command = [sys.executable, "-m", "pycontainerd.server.main", "-c", str(path), "config", "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "soon" in text or "many" in text
