"""Reload of a running daemon: SIGHUP, ``ctr reload``, and what the service manager hears."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pycontainerd.testing import needs
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon

pytestmark = pytest.mark.root
IMAGES = "io.containerd.grpc.v1.images"


def rewrite(daemon: Daemon, old: str, new: str) -> None:
    path = f"{daemon.directory}/config.toml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new, 1))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ctr(daemon: Daemon, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OURS, "--address", daemon.address, *args], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_plugin_is_disabled_and_enabled_again_while_the_daemon_runs(our_containerd: Daemon) -> None:
    where = f"{our_containerd.directory}/config.toml:5"
    rewrite(our_containerd, "disabled_plugins = [", f'disabled_plugins = [\n"{IMAGES}",')
    pid = our_containerd.pid

    done = ctr(our_containerd, "reload", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["accepted"] is True
    assert found["changes"] == [
        {"key": "disabled_plugins", "verdict": "applied", "plugin": IMAGES, "message": "it is stopped"}
    ]
    refused = ctr(our_containerd, "images", "ls")
    assert refused.returncode == 7
    assert IMAGES in refused.stderr
    assert f"disabled at {where}" in refused.stderr

    rewrite(our_containerd, f'"{IMAGES}",', "")
    assert "is ok" in ctr(our_containerd, "reload").stdout
    assert ctr(our_containerd, "images", "ls").returncode == 0
    assert our_containerd.pid == pid
    assert "Nothing changed." in ctr(our_containerd, "reload").stdout


def test_a_dry_run_changes_nothing(our_containerd: Daemon) -> None:
    rewrite(our_containerd, "disabled_plugins = [", f'disabled_plugins = [\n"{IMAGES}",')
    assert "it would stop" in ctr(our_containerd, "reload", "--dry-run").stdout
    assert ctr(our_containerd, "images", "ls").returncode == 0


def test_a_bad_configuration_never_replaces_the_running_one(our_containerd: Daemon) -> None:
    rewrite(
        our_containerd,
        "disabled_plugins = [",
        f'disabled_plugins = [\n"{IMAGES}",',
    )
    with open(f"{our_containerd.directory}/config.toml", "a", encoding="utf-8") as file:
        file.write('\n[plugins."io.containerd.service.v1.diff-service"]\nsync_fs = 3\n')
    done = ctr(our_containerd, "reload")
    assert done.returncode == 1
    assert "sync_fs must be a bool, not 3" in done.stdout
    assert f"{our_containerd.directory}/config.toml:" in done.stdout
    assert "goes on as it was" in done.stderr

    our_containerd.reload()
    until(lambda: our_containerd.log().count("the configuration is not taken") == 2)
    assert ctr(our_containerd, "images", "ls").returncode == 0

    with open(f"{our_containerd.directory}/config.toml", "w", encoding="utf-8") as file:
        file.write("this is [no toml\n")
    our_containerd.reload()
    until(lambda: our_containerd.log().count("the configuration is not taken") == 3)
    assert ctr(our_containerd, "images", "ls").returncode == 0


def test_the_level_of_the_log_changes_at_once_and_the_root_with_the_next_start(our_containerd: Daemon) -> None:
    with open(f"{our_containerd.directory}/config.toml", encoding="utf-8") as file:
        text = file.read()
    with open(f"{our_containerd.directory}/config.toml", "w", encoding="utf-8") as file:
        file.write('temp = "/somewhere"\n' + text.replace('level = "debug"', 'level = "error"'))
    rows = ctr(our_containerd, "reload").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["debug.level", "temp"]
    assert "needs restart" in rows[1]
    quiet = our_containerd.log()
    ctr(our_containerd, "reload")
    assert our_containerd.log() == quiet  # what it says of a reload is no error


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """A service manager's end of sd_notify(3)."""
    with (
        tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
    ):
        listening.bind(f"{directory}/notify")
        listening.settimeout(30)
        yield listening


def test_the_service_manager_hears_of_a_reload(manager: socket.socket) -> None:
    with Daemon.ours(environment={"NOTIFY_SOCKET": manager.getsockname()}) as daemon:
        assert manager.recv(4096).decode().startswith("READY=1")
        before = time.monotonic_ns() // 1000
        daemon.reload()
        states = manager.recv(4096).decode().splitlines()
        assert states[0] == "RELOADING=1"
        assert before <= int(states[1].removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert manager.recv(4096).decode().startswith("READY=1")


def test_a_hangup_during_the_start_is_a_reload_and_not_the_end() -> None:
    with Daemon.ours() as daemon:
        daemon.stop()
        starting = threading.Thread(target=daemon.start)
        starting.start()
        try:
            until(lambda: daemon.process is not None and _catches(daemon.pid, signal.SIGHUP))
            daemon.reload()
        finally:
            starting.join()
        until(lambda: "reload: nothing changed" in daemon.log())
        assert ctr(daemon, "version").returncode == 0


def _status(pid: int) -> bytes:
    with open(f"/proc/{pid}/status", "rb") as file:
        return file.read()


def _catches(pid: int, number: int) -> bool:
    (line,) = [line for line in _status(pid).splitlines() if line.startswith(b"SigCgt")]
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_the_go_containerd_knows_no_reload(debian_containerd: Daemon) -> None:
    done = ctr(debian_containerd, "reload")
    assert done.returncode == 7
    assert "pycontainerd.services.control.v1.Control" in done.stderr


def test_containers_run_on_through_a_reload(our_containerd: Daemon, image_archive: str) -> None:
    theirs = Ctr([needs.command("ctr")], our_containerd.address)
    theirs("images", "import", image_archive)
    name = theirs("images", "ls", "-q").split()[0]
    theirs("run", "-d", name, "runs", "/bin/sleep", "600")
    rewrite(our_containerd, "disabled_plugins = [", 'disabled_plugins = [\n"io.containerd.grpc.v1.leases",')
    assert ctr(our_containerd, "reload").returncode == 0
    assert "RUNNING" in theirs("task", "ls")
    theirs("task", "kill", "-s", "KILL", "runs")
