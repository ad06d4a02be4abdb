"""Names that mean nothing here, and listeners that nobody serves: said, with the line and the way out, never an error."""

from __future__ import annotations

import pytest

from pycontainerd.config import load
from pycontainerd.config.check import check
from pycontainerd.config.loader import merge, read_layers
from pycontainerd.config.plugins import Plugins, installed
from pycontainerd.config.show import explain

CRI = "io.containerd.grpc.v1.cri"
OVERLAY = "io.containerd.snapshotter.v1.overlayfs"
NAMES = f"""\
version = 3
disabled_plugins = [
  # "ci" is not this line
  "io.containerd.grpc.v1.cir", "io.containerd.internal.v1.opt",
  "ci",
]
required_plugins = ["{OVERLAY}x"]
[plugins."io.containerd.snapshotter.v1.overlayf"]
"""
LISTENERS = """\
version = 3
[grpc]
tcp_address = "127.0.0.1:1"
[debug]
address = "/run/debug.sock"
[metrics]
address = "127.0.0.1:1338"
"""


def test_a_misspelt_name_is_answered_with_the_nearest_at_its_own_line(write):
    path = write(NAMES)
    said = {(one.where.removeprefix(f"{path}:"), one.severity): one for one in check(path)[0]}
    assert said["4", "error"].hint == f"did you mean {CRI}?"
    assert said["5", "error"].hint == f"did you mean {CRI}?"
    assert said["7", "error"].hint == f"did you mean {OVERLAY}?"
    assert said["8", "warning"].hint == f"did you mean {OVERLAY}?"
    assert "plugin of the Go containerd" in said["4", "note"].message


def test_the_daemon_says_the_same_of_what_would_change_nothing_without_a_word(write):
    path = write(NAMES)
    settings = load(path)
    said = [*settings.unknown_listed(installed().installed), *settings.unknown_tables(installed().installed)]
    assert [one.removeprefix(path) for one in said] == [
        f":4: disabled_plugins: io.containerd.grpc.v1.cir is not a plugin known here; did you mean {CRI}?",
        f":5: disabled_plugins: ci is not a plugin known here; did you mean {CRI}?",
        f":7: required_plugins: {OVERLAY}x is not a plugin known here; did you mean {OVERLAY}?",
        f":8: io.containerd.snapshotter.v1.overlayf is not a plugin known here; did you mean {OVERLAY}?",
    ]


def test_an_id_alone_and_a_third_partys_plugin_are_known_names(write):
    settings = load(write('version = 2\ndisabled_plugins = ["exchange", "com.example.fs.v1.mine"]\n'))
    assert list(settings.unknown_listed(["io.containerd.event.v1.exchange", "com.example.fs.v1.mine"])) == []


@pytest.fixture
def bare():
    """What is known where no listener but those of core is installed."""
    found = installed()
    missing = ("io.containerd.server.v1.metrics", "io.containerd.server.v1.debug", "io.containerd.server.v1.grpc-tcp")
    return Plugins({uri: one for uri, one in found.configs.items() if uri not in missing}, {})


def test_an_address_that_nobody_will_listen_on_is_said_by_check_explain_and_the_daemon(write, monkeypatch, bare):
    monkeypatch.setattr("pycontainerd.config.check.installed", lambda *_: bare)
    path = write(LISTENERS)
    findings, settings = check(path)
    wanted = {3: "grpc.tcp_address", 5: "debug.address", 7: "metrics.address"}
    said = {one.where: one for one in findings if one.severity == "warning"}
    assert set(said) == {f"{path}:{line}" for line in wanted}
    daemon = list(settings.unknown_tables(bare.installed))
    layered = merge(read_layers(path))
    for line, key in wanted.items():
        assert f"{key}: nothing will listen on" in said[f"{path}:{line}"].message
        assert f"{path}:{line}: {said[f'{path}:{line}'].message}" in daemon
        assert "effect   none: nothing will listen on" in explain(layered, bare, key)
    assert not [one for one in findings if one.severity == "error"]


def test_explain_says_of_a_key_without_effect_why_it_has_none(write, bare):
    settings = load(write('version = 3\noom_score = 5\n[plugins."io.containerd.nri.v1.nri"]\ndisable = true\n'))
    assert "effect   none: it is for the Go containerd" in explain(settings, bare, "oom_score")
    assert "effect   none: io.containerd.nri.v1.nri is a plugin of the Go" in explain(
        settings, bare, "io.containerd.nri.v1.nri.disable"
    )
    assert "effect" not in explain(settings, bare, "root")
