"""The start of the daemon: what it imports, and where its time goes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from pycontainerd.server.startup import PHASES
from pycontainerd.testing.client import eventually
from pycontainerd.testing.daemon import Daemon

pytestmark = pytest.mark.root

# Large, and needed by a few requests at most: these are imported when the first of them comes.
NOT_AT_START = (
    "aiohttp",
    "cattrs",
    "click",
    "hypothesis",
    "isal",
    "lz4",
    "pluggy",
    "pycontainerd.client",
    "pycontainerd.config.check",
    "pycontainerd.config.commands",
    "pycontainerd.config.keys",
    "pycontainerd.config.schema",
    "pycontainerd.config.show",
    "pycontainerd.ctr",
    "pycontainerd.oci",
    "pycontainerd.proxy",
    "pycontainerd.registry",
    "pycontainerd.server.reload",
    "pycontainerd.shim.shim",
    "pycontainerd.testing",
    "pycontainerd.transfer.archive",
    "pycontainerd.transfer.pull",
    "rich",
    "yarl",
    "zstandard",
)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon.ours()
    try:
        yield made
    finally:
        made.close()


def booted(daemon: Daemon) -> None:
    """The socket answers a moment before the log says so."""
    eventually(lambda: "successfully booted" in daemon.log(), "the daemon says that it has booted", 10)


def test_a_cold_start_imports_nothing_heavy_that_it_does_not_use(daemon: Daemon) -> None:
    python, *rest = daemon.command
    daemon.command[:] = [python, "-X", "importtime", *rest]
    daemon.start()
    booted(daemon)
    started = daemon.log().partition("successfully booted")[0]
    names = set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", started, re.MULTILINE))
    assert {"grpc", "pycontainerd.server.grpc_server", "pycontainerd.tasks.manager"} <= names
    assert len(names) < 800, "a start imports more and more: what of it could wait until it is used?"
    heavy = {name for name in names for one in NOT_AT_START if name == one or name.startswith(f"{one}.")}
    assert heavy == set()


def test_nothing_of_a_disabled_plugin_is_imported_by_the_daemon(daemon: Daemon) -> None:
    path = f"{daemon.directory}/config.toml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    uris = ("io.containerd.gc.v1.scheduler", "io.containerd.snapshotter.v1.overlayfs")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("disabled_plugins = []", f"disabled_plugins = {list(uris)}"))
    python, *rest = daemon.command
    daemon.command[:] = [python, "-X", "importtime", *rest]
    daemon.start()
    booted(daemon)
    names = set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", daemon.log(), re.MULTILINE))
    assert "pycontainerd.tasks.manager" in names  # a plugin.py is not listed there, what it imports is
    assert [name for name in names if name.startswith(("pycontainerd_gc", "pycontainerd_snapshotter_overlay"))] == []


def test_the_profile_of_a_start_has_every_phase_and_every_plugin(daemon: Daemon) -> None:
    path = f"{daemon.directory}/profile"
    daemon.command.append(f"--profile-startup={path}")
    daemon.start()
    eventually(lambda: os.path.exists(path) and os.path.getsize(path) > 0, "the profile is written", 10)
    with open(path, encoding="utf-8") as file:
        phases, plugins = file.read().split("\n\n")
    found = [line.split()[0] for line in phases.splitlines()[1:]]
    assert found == [*PHASES, "all"]
    rows = re.findall(r"^ *\d+\.\d +\d+\.\d +(\S+) +(\S+) \((\S+) \S+\)$", plugins, re.MULTILINE)
    assert ("ok", "io.containerd.server.v1.grpc", "pycontainerd") in rows
    assert len(rows) == len(plugins.strip().splitlines()) - 2  # a line what it is, and one for the columns
    assert "phase" not in daemon.log()


def test_the_profile_goes_to_standard_error_where_no_file_is_named(daemon: Daemon) -> None:
    daemon.command.append("--profile-startup")
    daemon.start()
    eventually(lambda: " plugin\n" in daemon.log(), "the profile is written", 10)
    assert re.search(r"^discovery +\d+\.\d +\d+\.\d ", daemon.log(), re.MULTILINE)
    assert re.search(r"^ +\d+\.\d +\d+\.\d +ok +io\.containerd\.content\.v1\.content ", daemon.log(), re.MULTILINE)


def test_a_profile_that_cannot_be_written_does_not_end_the_daemon(daemon: Daemon) -> None:
    daemon.command.append("--profile-startup=/proc/none/profile")
    daemon.start()
    booted(daemon)
    eventually(lambda: "cannot write" in daemon.log(), "it is said", 10)
    assert "cannot write the profile of the start to /proc/none/profile" in daemon.log()
