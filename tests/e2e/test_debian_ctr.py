"""The Go client that people have (Debian's ctr) against our daemon."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from pycontainerd.testing import needs
from pycontainerd.testing.client import Ctr, eventually
from pycontainerd.testing.plugin import IMAGE

pytestmark = [pytest.mark.root, pytest.mark.interop]


@pytest.fixture(scope="module")
def ctr(our_containerd_module: Any) -> Ctr:
    """Debian's ctr in a namespace of its own."""
    return Ctr((needs.command("ctr"),), our_containerd_module.address)


@pytest.fixture(scope="module")
def image(ctr: Ctr, image_archive: str) -> str:
    ctr("images", "import", image_archive)
    return IMAGE


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(our_containerd_module: Any) -> Iterator[None]:
    yield
    eventually(lambda: not our_containerd_module.leftovers(), "no shim, mount or cgroup is left", 10)


def test_version_names_client_and_server(ctr: Ctr) -> None:
    out = ctr("version")
    assert "Server:" in out
    assert "pycontainerd" in out


def test_plugins_are_listed_with_their_state(ctr: Ctr) -> None:
    out = ctr("plugins", "ls")
    states = {tuple(line.split()[:2]): line.split()[-1] for line in out.splitlines()[1:]}
    assert states["io.containerd.grpc.v1", "tasks"] == "ok"
    assert states["io.containerd.snapshotter.v1", "overlayfs"] == "ok"
    assert states["io.containerd.snapshotter.v1", "zfs"] == "skip"


def test_namespaces_are_created_labelled_listed_and_removed(ctr: Ctr) -> None:
    name = f"n{uuid.uuid4().hex[:8]}"
    ctr("namespaces", "create", name, "colour=blue")
    assert re.search(rf"^{name}\s+colour=blue", ctr("namespaces", "ls"), re.MULTILINE)
    ctr("namespaces", "label", name, "colour=")
    assert "colour" not in ctr("namespaces", "ls")
    ctr("namespaces", "remove", name)
    assert name not in ctr("namespaces", "ls", "-q").split()


def test_an_illegal_namespace_is_refused(ctr: Ctr) -> None:
    assert "not valid" in ctr("namespaces", "create", "no/slash", check=False)


def test_an_imported_image_is_listed_tagged_and_removed(ctr: Ctr, image: str) -> None:
    assert image in ctr("images", "ls", "-q").split()
    ctr("images", "tag", image, "local.test/other:2")
    assert "local.test/other:2" in ctr("images", "ls", "-q").split()
    ctr("images", "label", "local.test/other:2", "a=b")
    assert "a=b" in ctr("images", "ls", "name==local.test/other:2")
    ctr("images", "rm", "local.test/other:2")
    assert "local.test/other:2" not in ctr("images", "ls", "-q").split()
    assert "complete" in ctr("images", "check")


def test_content_is_listed_and_read(ctr: Ctr, image: str) -> None:
    lines = ctr("images", "ls", f"name=={image}").splitlines()
    digest = lines[1].split()[2]
    assert digest in ctr("content", "ls", "-q").split()
    manifest = json.loads(ctr("content", "get", digest))
    assert manifest["schemaVersion"] == 2


def test_content_is_ingested_labelled_and_removed(ctr: Ctr) -> None:
    text = uuid.uuid4().hex
    ctr("content", "ingest", f"ref-{text}", input=text)
    digest = next(one for one in ctr("content", "ls", "-q").split() if ctr("content", "get", one) == text)
    ctr("content", "label", digest, "kind=note")
    assert "kind=note" in ctr("content", "ls", f"digest=={digest}")
    ctr("content", "rm", digest)
    assert digest not in ctr("content", "ls", "-q").split()


def test_content_of_another_digest_than_promised_is_refused_and_leaves_nothing(ctr: Ctr) -> None:
    wrong = "sha256:" + "0" * 64
    out = ctr("content", "ingest", "--expected-digest", wrong, "wrong", input="not that", check=False)
    assert "expected" in out
    assert wrong not in ctr("content", "ls", "-q")


def test_leases_are_created_listed_and_deleted(ctr: Ctr) -> None:
    ctr("leases", "create", "--id", "keep", "why=test")
    assert "why=test" in ctr("leases", "ls")
    ctr("leases", "delete", "keep")
    assert "keep" not in ctr("leases", "ls", "-q").split()


def view(ctr: Ctr, key: str, parent: str) -> None:
    """A view that stays: the tool makes it without a label that keeps it from collections, and one may be under way."""
    for _ in range(10):
        ctr("snapshots", "view", key, parent)
        if ctr.status("snapshots", "label", key, "containerd.io/gc.root=kept")[0] == 0:
            return
    pytest.fail(f"the view {key} was collected ten times")


def test_snapshots_are_prepared_viewed_committed_and_removed(ctr: Ctr) -> None:
    ctr("snapshots", "prepare", "work")
    ctr("snapshots", "commit", "base", "work")
    ctr("snapshots", "prepare", "next", "base")
    view(ctr, "look", "base")
    kinds = {line.split()[0]: line.split()[-1] for line in ctr("snapshots", "ls").splitlines()[1:]}
    assert kinds["base"] == "Committed"
    assert kinds["next"] == "Active"
    assert kinds["look"] == "View"
    assert "is based on it" in ctr("snapshots", "rm", "base", check=False)
    for key in ("next", "look", "base"):
        ctr("snapshots", "rm", key)
    left = ctr("snapshots", "ls")
    assert not {"base", "next", "look", "work"} & {line.split()[0] for line in left.splitlines()[1:]}


def test_run_rm_gives_output_and_exit_status(ctr: Ctr, image: str) -> None:
    out = ctr("run", "--rm", image, "greet", "/bin/sh", "-c", "echo hello from $0")
    assert "hello from" in out
    assert "greet" not in ctr("containers", "ls", "-q").split()


def test_a_failing_command_gives_its_exit_status(ctr: Ctr, image: str) -> None:
    name = f"fail-{uuid.uuid4().hex[:6]}"
    assert ctr.status("run", "--rm", image, name, "/bin/sh", "-c", "exit 7")[0] == 7


def test_a_detached_container_is_listed_entered_signalled_and_removed(ctr: Ctr, image: str) -> None:
    ctr("run", "-d", image, "sleeper", "/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    try:
        assert re.search(r"^sleeper\s+\d+\s+RUNNING", ctr("task", "ls"), re.MULTILINE)
        assert json.loads(ctr("containers", "info", "sleeper"))["Image"] == image
        assert "sleeper" in ctr("containers", "ls", "-q").split()
        assert ctr("task", "exec", "--exec-id", "e1", "sleeper", "/bin/sh", "-c", "echo in $((40+2))") == "in 42\n"
        assert len(ctr("task", "ps", "sleeper").splitlines()) >= 2
        ctr("task", "pause", "sleeper")
        assert "PAUSED" in ctr("task", "ls")
        ctr("task", "resume", "sleeper")
        assert "memory" in ctr("task", "metrics", "sleeper")
        ctr("task", "kill", "-s", "SIGTERM", "sleeper")
        eventually(lambda: "STOPPED" in ctr("task", "ls"), "the task is stopped")
    finally:
        ctr("task", "kill", "-s", "SIGKILL", "sleeper", check=False)
        eventually(lambda: "RUNNING" not in ctr("task", "ls"), "nothing runs")
        ctr("task", "rm", "sleeper", check=False)
        ctr("containers", "rm", "sleeper", check=False)
    assert "sleeper" not in ctr("containers", "ls", "-q").split()
    assert "sleeper" not in ctr("snapshots", "ls")


def test_a_name_can_be_used_once_only(ctr: Ctr, image: str) -> None:
    ctr("containers", "create", image, "twin")
    assert "already exists" in ctr("containers", "create", image, "twin", check=False)
    ctr("containers", "rm", "twin")


def test_an_unknown_runtime_is_named_and_leaves_nothing(ctr: Ctr, image: str) -> None:
    out = ctr("run", "--rm", "--runtime", "io.containerd.nosuch.v1", image, "odd", "/bin/true", check=False)
    assert "nosuch" in out
    ctr("containers", "rm", "odd", check=False)
    assert "odd" not in ctr("snapshots", "ls")


def test_an_unknown_snapshotter_is_named(ctr: Ctr) -> None:
    assert "snapshotter not loaded: nosuch" in ctr("snapshots", "--snapshotter", "nosuch", "ls", check=False)


def test_events_of_a_run_are_seen(ctr: Ctr, image: str) -> None:
    watcher = ctr.start("events", stdout=subprocess.PIPE)
    lines: list[str] = []

    def read() -> None:
        assert watcher.stdout is not None
        with watcher.stdout as stream:
            lines.extend(stream)

    reader = threading.Thread(target=read)
    reader.start()

    def subscribed() -> bool:  # there is no other sign of it than an event
        ctr("images", "tag", "--force", image, "local.test/probe:1")
        return bool(lines)

    def complete() -> bool:
        topics = set(re.findall(r" (/[a-z]+/[a-z-]+) ", "".join(lines)))
        return {"/containers/create", "/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"} <= topics

    try:
        eventually(subscribed, "an event")
        ctr("run", "--rm", image, "watched", "/bin/true")
        eventually(complete, "the events of a run")
    finally:
        watcher.send_signal(signal.SIGTERM)
        watcher.wait(10)
        reader.join(10)
    ctr("images", "rm", "local.test/probe:1")
