"""Our ctr against the Go containerd (Debian's 1.6) and against our own daemon: one suite, two daemons."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.plugin import IMAGE

pytestmark = [pytest.mark.root, pytest.mark.interop]


@pytest.fixture(scope="module", params=["debian", "our"])
def daemon(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_containerd_module")


@pytest.fixture(scope="module")
def ctr(daemon: Any) -> Ctr:
    return Ctr(OURS, daemon.address)


@pytest.fixture(scope="module")
def image(ctr: Ctr, image_archive: str) -> str:
    assert IMAGE in ctr("images", "import", image_archive)
    return IMAGE


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(daemon: Any) -> Iterator[None]:
    yield
    eventually(lambda: not daemon.leftovers(), "no shim, mount or cgroup is left", 10)


@pytest.fixture
def name(ctr: Ctr) -> Iterator[str]:
    """A container's name; what is left of it is removed."""
    found = f"c-{uuid.uuid4().hex[:8]}"
    yield found
    ctr("containers", "rm", "--force", found, check=False)


def loaded(text: str) -> Any:
    return json.loads(text)


def test_version_names_client_and_server(ctr: Ctr) -> None:
    found = loaded(ctr("version", "-o", "json"))
    assert found["client"]["version"]
    assert found["server"]["version"]
    assert "Server:" in ctr("version")


def test_info_names_the_daemons_process(ctr: Ctr, daemon: Any) -> None:
    server = loaded(ctr("info"))["server"]
    assert server["uuid"]
    if daemon.kind == "ours":
        assert int(server["pid"]) == daemon.pid


def test_plugins_are_listed_and_explained(ctr: Ctr, daemon: Any) -> None:
    rows = {tuple(line.split()[:2]): line.split()[3] for line in ctr("plugins", "ls").splitlines()[1:]}
    assert rows["io.containerd.snapshotter.v1", "overlayfs"] == "ok"
    uri = "io.containerd.grpc.v1.tasks"
    assert uri in ctr("plugins", "why", uri)
    assert "io.containerd.snapshotter.v1.overlayfs is up" in ctr("plugins", "why", "overlayfs")
    assert any(item["uri"] == uri and item["status"] == "ok" for item in loaded(ctr("plugins", "ls", "-o", "json")))
    graph = ctr("plugins", "ls", "-o", "dot")
    assert re.search(rf'"{re.escape(uri)}" \[label="grpc.v1\\ntasks\\nok", fillcolor=palegreen', graph)
    if daemon.kind == "ours":
        header, *lines = ctr("plugins", "ls").splitlines()
        assert header.split() == ["TYPE", "ID", "PLATFORMS", "STATUS", "PACKAGE", "VERSION", "IMPORT", "INIT"]
        overlay = next(line.split() for line in lines if " overlayfs " in line)
        assert overlay[4] == "pycontainerd-snapshotter-overlay"
        assert overlay[2].startswith("linux/")
        assert all(re.fullmatch(r"\d+\.\dms", cell) for cell in overlay[6:])
        assert f'"{uri}" -> "io.containerd.runtime.v2.task";' in ctr("plugins", "why", uri, "-o", "dot")
    code, _, error = ctr.status("plugins", "why", "io.containerd.grpc.v1.taks")
    assert code == 3
    assert "did you mean io.containerd.grpc.v1.tasks" in error


def test_namespaces_are_created_labelled_listed_and_removed(ctr: Ctr) -> None:
    name = f"n{uuid.uuid4().hex[:8]}"
    ctr("namespaces", "create", name, "colour=blue")
    assert {"name": name, "labels": {"colour": "blue"}} in loaded(ctr("ns", "ls", "-o", "json"))
    assert re.search(rf"^{name}\s+colour=blue", ctr("namespaces", "ls"), re.MULTILINE)
    ctr("namespaces", "label", name, "colour=")
    assert {"name": name, "labels": {}} in loaded(ctr("ns", "ls", "-o", "json"))
    ctr("namespaces", "rm", name)
    assert name not in ctr("namespaces", "ls", "-q").split()


def test_an_illegal_namespace_is_refused(ctr: Ctr) -> None:
    code, _, error = ctr.status("namespaces", "create", "no/slash")
    assert code == 2
    assert "no/slash" in error


def test_an_imported_image_is_listed_tagged_labelled_and_removed(ctr: Ctr, image: str) -> None:
    record = next(item for item in loaded(ctr("images", "ls", "-o", "json")) if item["name"] == image)
    assert record["target"]["digest"].startswith("sha256:")
    assert record["platforms"]
    ctr("images", "tag", image, "local.test/other:2")
    ctr("images", "label", "local.test/other:2", "a=b")
    assert "a=b" in ctr("images", "ls", "name==local.test/other:2")
    assert ctr("images", "rm", "local.test/other:2").split() == ["local.test/other:2"]
    assert "local.test/other:2" not in ctr("i", "ls", "-q").split()
    checked = next(item for item in loaded(ctr("images", "check", "-o", "json")) if item["name"] == image)
    assert checked["unpacked"] is True
    assert str(checked["status"]).startswith("complete")


def test_an_image_that_is_not_there_is_said_with_what_to_do(ctr: Ctr) -> None:
    code, _, error = ctr.status("run", "--rm", "nosuch", "x")
    assert code == 3
    assert "docker.io/library/nosuch:latest" in error


def test_an_image_is_pulled_from_a_registry(ctr: Ctr, registry: Any, host_image: Any, name: str) -> None:
    reference = registry.put(f"e2e-{uuid.uuid4().hex[:8]}", "1", host_image)
    out = ctr("images", "pull", "--plain-http", reference)
    assert host_image.target.digest in out
    assert ctr("run", "--rm", reference, name, "echo", "pulled") == "pulled\n"
    ctr("images", "rm", reference)


def test_an_image_is_exported_and_imported_again(ctr: Ctr, image: str, tmp_path: Any) -> None:
    path = str(tmp_path / "out.tar")
    code, _, error = ctr.status("images", "export", path, image)
    if code == 7:
        assert "1.7" in error
        return
    assert code == 0, error
    other = Ctr(OURS, ctr.address)
    assert image in other("images", "import", "--no-unpack", path)
    other("images", "rm", "--sync", image)


def test_content_is_listed_read_ingested_labelled_and_removed(ctr: Ctr, image: str) -> None:
    digest = loaded(ctr("images", "ls", "-o", "json", f"name=={image}"))[0]["target"]["digest"]
    assert digest in ctr("content", "ls", "-q").split()
    assert loaded(ctr("content", "get", digest))["schemaVersion"] == 2
    text = uuid.uuid4().hex
    made = ctr("content", "ingest", f"ref-{text}", input=text).strip()
    assert ctr("content", "get", made) == text
    ctr("content", "label", made, "kind=note")
    assert [item["digest"] for item in loaded(ctr("content", "ls", "-o", "json", "labels.kind==note"))] == [made]
    ctr("content", "rm", made)
    assert made not in ctr("content", "ls", "-q").split()
    assert ctr.status("content", "get", made)[0] == 3


def test_content_of_another_digest_than_promised_is_refused_and_leaves_nothing(ctr: Ctr) -> None:
    wrong = "sha256:" + "0" * 64
    code, _, error = ctr.status("content", "ingest", "--expected-digest", wrong, "wrong", input="not that")
    assert code != 0
    assert wrong in error
    assert wrong not in ctr("content", "ls", "-q")
    ctr("content", "abort", "wrong", check=False)
    assert "wrong" not in ctr("content", "active")


def test_leases_are_created_listed_and_deleted(ctr: Ctr) -> None:
    assert ctr("leases", "create", "--id", "keep", "why=test").strip() == "keep"
    assert loaded(ctr("leases", "ls", "-o", "json", "id==keep"))[0]["labels"]["why"] == "test"
    ctr("leases", "rm", "keep")
    assert "keep" not in ctr("leases", "ls", "-q").split()


def test_snapshots_are_prepared_viewed_committed_and_removed(ctr: Ctr) -> None:
    ctr("snapshots", "prepare", "work")
    ctr("snapshots", "commit", "base", "work")
    mounts = loaded(ctr("snapshots", "prepare", "--mounts", "next", "base"))
    assert mounts[0]["type"] in ("overlay", "bind")
    ctr("snapshots", "view", "look", "base")
    kinds = {line.split()[0]: line.split()[-1] for line in ctr("snapshots", "ls").splitlines()[1:]}
    assert (kinds["base"], kinds["next"], kinds["look"]) == ("Committed", "Active", "View")
    assert loaded(ctr("snapshots", "info", "next"))["parent"] == "base"
    assert "base" in ctr("snapshots", "tree")
    assert ctr.status("snapshots", "rm", "base")[0] == 5
    for key in ("next", "look", "base"):
        ctr("snapshots", "rm", key)
    left = ctr("snapshots", "ls")
    assert not {"base", "next", "look", "work"} & {line.split()[0] for line in left.splitlines()[1:]}


def test_an_unknown_snapshotter_is_named(ctr: Ctr) -> None:
    code, _, error = ctr.status("snapshots", "--snapshotter", "nosuch", "ls")
    assert code != 0
    assert "nosuch" in error


def test_run_gives_output_input_and_exit_status(ctr: Ctr, image: str, name: str) -> None:
    script = "cat; echo oops >&2; exit 7"
    code, out, error = ctr.status("run", "--rm", image, name, "/bin/sh", "-c", script, input="from here\n")
    assert (code, out, error) == (7, "from here\n", "oops\n")
    assert name not in ctr("containers", "ls", "-q").split()
    assert name not in ctr("snapshots", "ls")


def test_run_passes_much_output_on_whole(ctr: Ctr, image: str, name: str) -> None:
    out = ctr("run", "--rm", image, name, "seq", "1", "200000")
    assert len(out) == 1288895
    assert out.endswith("\n200000\n")


def test_run_takes_environment_directory_user_and_limits(ctr: Ctr, image: str, name: str) -> None:
    script = 'echo "$COLOUR $(pwd) $(id -u):$(id -g)"; hostname'
    options = [
        "--env",
        "COLOUR=blue",
        "--cwd",
        "/tmp",
        "--user",
        "user",
        "--hostname",
        "h1",
        "--memory-limit",
        "67108864",
    ]
    assert ctr("run", "--rm", *options, image, name, "sh", "-c", script) == "blue /tmp 1000:1000\nh1\n"


def test_a_command_that_is_not_there_is_named_and_leaves_nothing(ctr: Ctr, image: str, name: str) -> None:
    code, _, error = ctr.status("run", "--rm", image, name, "/no/such/command")
    assert code not in (0, 130)
    assert "/no/such/command" in error
    assert name not in ctr("containers", "ls", "-q").split()
    assert name not in ctr("snapshots", "ls")


def test_an_unknown_runtime_is_named_and_leaves_nothing(ctr: Ctr, image: str, name: str) -> None:
    code, _, error = ctr.status("run", "--rm", "--runtime", "io.containerd.nosuch.v1", image, name, "true")
    assert code != 0
    assert "nosuch" in error
    assert name not in ctr("snapshots", "ls")


def test_a_detached_container_is_listed_entered_signalled_and_removed(ctr: Ctr, image: str, name: str) -> None:
    ctr("run", "-d", image, name, "/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    assert re.search(rf"^{name}\s+\d+\s+RUNNING", ctr("task", "ls"), re.MULTILINE)
    record = next(item for item in loaded(ctr("t", "ls", "-o", "json")) if item["container_id"] == name)
    assert record["status"] == "running"
    assert loaded(ctr("containers", "info", name))["image"] == image
    assert name in ctr("c", "ls", "-q").split()
    assert any(item["id"] == name for item in loaded(ctr("containers", "ls", "-o", "json")))
    assert ctr("task", "exec", name, "/bin/sh", "-c", "echo in $((40+2))") == "in 42\n"
    assert ctr.status("task", "exec", name, "sh", "-c", "exit 9")[0] == 9
    assert len(ctr("task", "ps", name).splitlines()) >= 2
    ctr("task", "pause", name)
    assert "PAUSED" in ctr("task", "ls")
    ctr("task", "resume", name)
    assert "memory" in ctr("task", "metrics", name)
    assert ctr.status("containers", "rm", name)[0] == 5
    ctr("task", "kill", "-s", "SIGTERM", name)
    eventually(lambda: re.search(rf"^{name}\s+\d+\s+STOPPED", ctr("task", "ls"), re.MULTILINE), "the task has ended")
    assert "exit status 3" in ctr("task", "rm", name, check=False)
    ctr("containers", "rm", name)
    assert name not in ctr("containers", "ls", "-q").split()
    assert name not in ctr("snapshots", "ls")


def test_containers_are_started_stopped_started_again_and_removed(ctr: Ctr, image: str, name: str) -> None:
    ctr("containers", "start", image, name, "sleep", "1000")
    assert "RUNNING" in ctr("task", "ls")
    code, _, error = ctr.status("containers", "start", image, name)
    assert code == 4
    assert "runs already" in error
    assert ctr("containers", "stop", "--timeout", "100ms", name).strip() == name
    assert name not in ctr("task", "ls", "-q").split()
    assert ctr("containers", "stop", name).strip() == name  # nothing to stop is no failure
    ctr("containers", "start", image, name)
    assert name in ctr("task", "ls", "-q").split()
    ctr("containers", "stop", "--timeout", "100ms", name)
    ctr("containers", "rm", name)
    assert ctr.status("containers", "rm", name)[0] == 3


def test_a_created_container_is_started_as_a_task(ctr: Ctr, image: str, name: str) -> None:
    ctr("containers", "create", image, name, "sh", "-c", "echo started; exit 4")
    code, out, _ = ctr.status("task", "start", name)
    assert (code, out) == (4, "started\n")
    ctr("containers", "label", name, "a=b")
    assert "a=b" in str(ctr("containers", "label", name, "c=d"))


def test_a_name_can_be_used_once_only(ctr: Ctr, image: str, name: str) -> None:
    ctr("containers", "create", image, name)
    code, _, error = ctr.status("containers", "create", image, name)
    assert code == 4
    assert name in error


def test_events_of_a_run_are_seen(ctr: Ctr, image: str, name: str) -> None:
    watcher = ctr.start("events", "-o", "json", f"namespace=={ctr.namespace}", stdout=subprocess.PIPE)
    seen: list[dict[str, Any]] = []

    def read() -> None:
        assert watcher.stdout is not None
        with watcher.stdout as lines:
            seen.extend(json.loads(line) for line in lines)

    reader = threading.Thread(target=read)
    reader.start()

    def subscribed() -> bool:  # there is no other sign of it than an event
        ctr("images", "tag", "--force", IMAGE, "local.test/probe:1")
        return bool(seen)

    def complete() -> bool:
        topics = {event["topic"] for event in seen}
        return {"/containers/create", "/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"} <= topics

    try:
        eventually(subscribed, "an event")
        ctr("run", "--rm", image, name, "true")
        eventually(complete, "the events of a run")
    finally:
        watcher.send_signal(signal.SIGINT)
        watcher.wait(10)
        reader.join(10)
    assert watcher.returncode == 130
    assert {event["namespace"] for event in seen} == {ctr.namespace}
    assert next(event for event in seen if event["topic"] == "/tasks/exit")["event"]["container_id"] == name
    ctr("images", "rm", "local.test/probe:1")


def _converse(argv: list[str], says: list[tuple[str, str]]) -> tuple[int, str]:
    """Run ``argv`` on a terminal of 33 by 77; each time a text appears type an answer. Exit status and all that was shown."""
    pid, fd = pty.fork()
    if pid == 0:
        termios.tcsetwinsize(0, (33, 77))
        os.execv(argv[0], argv)
    shown, waiting, end = "", list(says), time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if not select.select([fd], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(fd, 65536)
            except OSError:  # EIO: the other side is closed
                break
            if not data:
                break
            shown += data.decode(errors="replace")
            if waiting and waiting[0][0] in shown:
                os.write(fd, waiting.pop(0)[1].encode())
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(fd)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown


def test_a_terminal_is_one_on_both_sides(ctr: Ctr, image: str, name: str) -> None:
    script = "stty size; echo ready; read line; echo got $line; test -t 0 && exit 5"
    argv = ctr.argv("run", "--rm", "-t", image, name, "sh", "-c", script)
    code, shown = _converse(argv, [("ready", "hello\n")])
    assert "33 77" in shown  # before it runs, and so the first thing it sees
    assert "got hello" in shown
    assert code == 5


def test_a_terminal_is_given_to_an_added_process(ctr: Ctr, image: str, name: str) -> None:
    ctr("run", "-d", image, name, "sleep", "1000")
    argv = ctr.argv("task", "exec", "-t", name, "sh", "-c", "tty; read line; echo got $line; exit 6")
    code, shown = _converse(argv, [("/dev/pts", "hello\n")])
    assert "got hello" in shown
    assert code == 6


def test_a_signal_to_ctr_reaches_the_container(ctr: Ctr, image: str, name: str) -> None:
    script = "trap 'echo bye; exit 8' TERM; echo ready; while :; do sleep 0.05; done"
    with ctr.start("run", "--rm", image, name, "sh", "-c", script, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.stdout.read() == "bye\n"
        assert running.wait(20) == 8


def test_import_shows_progress_on_a_terminal_only(ctr: Ctr, image_archive: str) -> None:
    other = Ctr(OURS, ctr.address)
    code, shown = _converse(other.argv("images", "import", image_archive), [])
    assert code == 0
    assert "\x1b[" in shown
    assert IMAGE in shown
    assert "\x1b[" not in other("images", "import", image_archive)
    other("images", "rm", "--sync", IMAGE)


def test_a_corrupt_archive_is_refused_and_leaves_nothing(ctr: Ctr, image_archive: str, tmp_path: Any) -> None:
    with open(image_archive, "rb") as file:
        data = file.read()
    broken = tmp_path / "broken.tar"
    broken.write_bytes(data[: len(data) // 2])
    other = Ctr(OURS, ctr.address)
    code, _, error = other.status("images", "import", str(broken))
    assert code != 0
    assert "Traceback" not in error
    assert other("images", "ls", "-q") == ""
    assert other("leases", "ls", "-q") == ""
