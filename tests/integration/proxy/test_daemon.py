"""A daemon with plugins in other processes: late ones, hanging ones, impossible ones, and daemons as back ends."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycontainerd.testing import needs
from pycontainerd.testing.client import OURS, Ctr, eventually
from pycontainerd.testing.daemon import Daemon

pytestmark = pytest.mark.root
URI = "io.containerd.snapshotter.v1.remote"


def dropin(daemon: Daemon, text: str) -> None:
    """Give the daemon a second config file: in the first, what is of the top would come too late."""
    with open(f"{daemon.directory}/config.toml") as file:
        main = file.read()
    with open(f"{daemon.directory}/more.toml", "w") as file:
        file.write(f"version = 2\n{text}")
    with open(f"{daemon.directory}/config.toml", "w") as file:
        file.write(f'imports = ["{daemon.directory}/more.toml"]\n{main}')


def table(name: str, type_: str, address: str, more: str = "") -> str:
    return f'\n[proxy_plugins.{name}]\ntype = "{type_}"\naddress = "{address}"\n{more}'


def state(ctr: Ctr, uri: str) -> str:
    """The word for where the plugin stands."""
    lines = [line.split() for line in ctr("plugins", "ls").splitlines()]
    return next((words[3] for words in lines if f"{words[0]}.{words[1]}" == uri), "")


def why(ctr: Ctr, uri: str) -> str:
    return ctr("plugins", "why", uri, check=False)


@pytest.fixture
def late(process) -> Iterator[Daemon]:
    """A daemon whose snapshotter ``remote`` has no socket yet."""
    more = (
        '[proxy_plugins.remote.exports]\nroot = "/r"\n[proxy_plugins.remote.timeouts]\nRemove = "1s"\nCommit = "1s"\n'
    )
    with Daemon.ours(config=table("remote", "snapshot", process.address, more)) as daemon:
        yield daemon


def test_a_late_snapshotter_binds_when_its_socket_appears(late, process) -> None:
    ctr = Ctr(OURS, late.address)
    said = why(ctr, URI)
    assert f"{URI}: the socket {process.address} is not there" in said
    assert state(ctr, URI) == "blocked"
    assert "config.toml:" in said
    code, _, error = ctr.status("snapshots", "--snapshotter", "remote", "prepare", "a")
    assert code != 0
    assert "is not there" in error
    process.start()
    eventually(lambda: state(ctr, URI) == "ok", "the plugin has bound")
    ctr("snapshots", "--snapshotter", "remote", "prepare", "a")
    assert "a" in ctr("snapshots", "--snapshotter", "remote", "ls")
    assert ["Prepare", ctr.namespace, "-"] in process.calls()
    assert "it answers" in ctr("plugins", "ls", "-d", "id==remote")
    process.kill()
    for _ in range(4):
        assert "nobody listens" in ctr("snapshots", "--snapshotter", "remote", "mounts", "/x", "a", check=False)
    assert "it does not answer since 20" in ctr("plugins", "ls", "-d", "id==remote")


def test_a_snapshotter_that_hangs_holds_up_nobody_else(late, process) -> None:
    process.start()
    ctr = Ctr(OURS, late.address)
    other = Ctr(OURS, late.address)
    eventually(lambda: state(ctr, URI) == "ok", "the plugin has bound")
    for key in "abcdef":
        ctr("snapshots", "--snapshotter", "remote", "prepare", key)
    with process.hanging("Remove"), ThreadPoolExecutor(6) as pool:
        removals = [pool.submit(ctr.status, "snapshots", "--snapshotter", "remote", "rm", key) for key in "abcdef"]
        eventually(lambda: [call for call in process.calls() if call[0] == "Remove"], "a removal is under way")
        other("snapshots", "--snapshotter", "native", "prepare", "mine")
        other("snapshots", "--snapshotter", "remote", "prepare", "mine")
        ctr("namespaces", "create", "another")
    for removal in removals:
        code, _, error = removal.result()
        assert code != 0
        assert URI in error
    eventually(lambda: ctr.status("snapshots", "--snapshotter", "remote", "rm", "a")[0] == 0, "removal works again")


def test_a_call_that_hangs_does_not_hold_up_the_end(late, process) -> None:
    process.start()
    ctr = Ctr(OURS, late.address)
    eventually(lambda: state(ctr, URI) == "ok", "the plugin has bound")
    with process.hanging("Prepare"), ThreadPoolExecutor(1) as pool:
        call = pool.submit(ctr.status, "snapshots", "--snapshotter", "remote", "prepare", "a")
        eventually(lambda: [call for call in process.calls() if call[0] == "Prepare"], "it is under way")
        assert late.stop() == 0
        assert call.result()[0] != 0


def test_a_commit_whose_answer_was_lost_is_one(late, process) -> None:
    process.start()
    ctr = Ctr(OURS, late.address)
    eventually(lambda: state(ctr, URI) == "ok", "the plugin has bound")
    ctr("snapshots", "--snapshotter", "remote", "prepare", "a")
    with process.mute("Commit"):
        ctr("snapshots", "--snapshotter", "remote", "commit", "c", "a")
    assert [line.split()[0] for line in ctr("snapshots", "--snapshotter", "remote", "ls").splitlines()[1:]] == ["c"]


def test_what_waits_for_a_late_plugin_starts_with_it(process) -> None:
    daemon = Daemon.ours()
    dropin(
        daemon, 'disabled_plugins = ["io.containerd.content.v1.content"]' + table("remote", "content", process.address)
    )
    with daemon:
        ctr = Ctr(OURS, daemon.address)
        service = "io.containerd.grpc.v1.content"
        assert state(ctr, service) == "blocked"
        said = why(ctr, service)
        assert f"{process.address} is not there" in said
        assert "io.containerd.content.v1.remote" in said
        assert f"{process.address} is not there" in ctr("content", "ls", check=False)
        process.start()
        eventually(lambda: state(ctr, service) == "ok", "the service has started")
        assert ctr("content", "ls", "-q") == ""


def test_a_socket_that_is_mute_holds_up_no_start(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        with Daemon.ours(config=table("remote", "snapshot", str(tmp_path / "s"))) as daemon:
            assert "takes connections, but no gRPC server answered" in why(Ctr(OURS, daemon.address), URI)


def test_a_reload_brings_and_takes_plugins(backend) -> None:
    with Daemon.ours() as daemon:
        ctr = Ctr(OURS, daemon.address)
        with open(f"{daemon.directory}/config.toml") as file:
            without = file.read()
        with open(f"{daemon.directory}/config.toml", "a") as file:
            file.write(table("remote", "snapshot", backend.address))
        daemon.reload()
        eventually(lambda: state(ctr, URI) == "ok", "the plugin has come")
        ctr("snapshots", "--snapshotter", "remote", "prepare", "a")
        with open(f"{daemon.directory}/config.toml", "w") as file:
            file.write(without)
        daemon.reload()
        eventually(lambda: state(ctr, URI) == "", "the plugin has gone")
        assert "not loaded" in ctr("snapshots", "--snapshotter", "remote", "ls", check=False)


def test_tables_that_make_no_plugin_say_so_and_stop_nobody(process) -> None:
    config = (
        table("wrong", "snapshotter", process.address)
        + table("empty", "snapshot", "")
        + table("native", "snapshot", process.address)
        + table("typo", "diff", process.address, 'platfrom = "linux/amd64"\n')
    )
    with Daemon.ours(config=config) as daemon:
        ctr = Ctr(OURS, daemon.address)
        for name, message in (
            ("wrong", "proxy_plugins.wrong.type must be one of 'snapshot', 'content'"),
            ("empty", "proxy_plugins.empty.address must be the absolute path of a unix socket, not ''"),
            ("native", "would be io.containerd.snapshotter.v1.native, which is installed already"),
        ):
            said = why(ctr, f"io.containerd.proxy.v1.{name}")
            assert state(ctr, f"io.containerd.proxy.v1.{name}") == "failed"
            assert "config.toml:" in said
            assert message in said
        assert state(ctr, "io.containerd.snapshotter.v1.native") == "ok"
        assert "unknown key proxy_plugins.typo.platfrom (did you mean platform?)" in daemon.log()
        check = [sys.executable, "-m", "pycontainerd.server.main", "-c", f"{daemon.directory}/config.toml"]
        checked = subprocess.run([*check, "config", "check"], capture_output=True, text=True, timeout=60)
        assert checked.returncode != 0
        for text in ("wrong.type must be", "empty.address must be", "installed already", "typo.platfrom"):
            assert text in checked.stdout + checked.stderr


def use(ctr: Ctr, name: str) -> None:
    """The life of a few snapshots."""
    flag = ("snapshots", "--snapshotter", name)
    ctr(*flag, "prepare", "active")
    ctr(*flag, "commit", "committed", "active")
    ctr(*flag, "view", "view", "committed")
    ctr(*flag, "prepare", "second", "committed")
    listed = ctr(*flag, "ls")
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["committed", "second", "view"]
    for key in ("view", "second", "committed"):
        ctr(*flag, "rm", key)
    assert len(ctr(*flag, "ls").splitlines()) == 1


@pytest.mark.parametrize("kind", ["ours", "debian"])
def test_a_containerd_is_a_back_end_for_another(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "debian":
        needs.command("containerd")
    behind = request.getfixturevalue("our_containerd" if kind == "ours" else "debian_containerd")
    config = table(
        "behind", "snapshot", behind.address, 'snapshotter = "native"\nnamespace = "front"\nlease = "front"\n'
    )
    Ctr(OURS, behind.address, "front")("leases", "create", "--id", "front", "--expires", "0")
    with Daemon.ours(config=config) as front:
        use(Ctr(OURS, front.address), "behind")


def test_a_daemon_without_proxies_imports_nothing_for_them() -> None:
    code = (
        "import sys\nfrom pycontainerd.config import load\nfrom pycontainerd.server import daemon\n"
        "daemon._proxies(load(sys.argv[1]))\nprint([m for m in sys.modules if 'proxy' in m or m == 'grpc'])"
    )
    done = subprocess.run([sys.executable, "-c", code, "/dev/null"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
