"""The tables ``[proxy_plugins.NAME]``: what they make, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycontainerd.config import load
from pycontainerd.config.check import check
from pycontainerd.config.proxies import Proxy, read
from pycontainerd.config.records import ConfigError

GOOD = 'type = "snapshot"\naddress = "/run/s.sock"\n'


def proxies(path: Path, text: str, taken: tuple[str, ...] = ()) -> list[Proxy]:
    file = path / "config.toml"
    file.write_text(f"version = 2\n{text}")
    settings = load(str(file))
    return list(read(settings.get("proxy_plugins"), settings.where, taken))


@pytest.mark.parametrize(
    ("type_", "uri"),
    [
        ("snapshot", "io.containerd.snapshotter.v1.x"),
        ("content", "io.containerd.content.v1.x"),
        ("diff", "io.containerd.differ.v1.x"),
        ("sandbox", "io.containerd.sandbox.controller.v1.x"),
        ("io.containerd.snapshotter.v1", "io.containerd.snapshotter.v1.x"),
    ],
)
def test_each_type_makes_a_plugin_of_its_own(tmp_path: Path, type_: str, uri: str) -> None:
    (made,) = proxies(tmp_path, f'[proxy_plugins.x]\ntype = "{type_}"\naddress = "/run/s.sock"\n')
    assert (made.uri, made.where, made.errors) == (uri, f"{tmp_path}/config.toml:2", ())


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[proxy_plugins.x]\ntype = "snapshotter"\naddress = "/s"', 3, "proxy_plugins.x.type must be one of"),
        ('[proxy_plugins.x]\ntype = "snapshot"', 2, "proxy_plugins.x must have the key address"),
        ('[proxy_plugins.x]\naddress = "/s"', 2, "proxy_plugins.x must have the key type"),
        (
            '[proxy_plugins.x]\ntype = "diff"\naddress = ""',
            4,
            "proxy_plugins.x.address must be the absolute path of a unix socket, not ''",
        ),
        ('[proxy_plugins.x]\ntype = "diff"\naddress = "tcp://h:1"', 4, "not 'tcp://h:1'"),
        (f'[proxy_plugins.x]\ntype = "diff"\naddress = "/{"y" * 200}"', 4, "must have at most 107 bytes"),
        ("[proxy_plugins]\nx = 5", 3, "proxy_plugins.x must be a table, not 5"),
        (f'[proxy_plugins."a b"]\n{GOOD}', 2, "has a name that is no plugin id"),
        (f"[proxy_plugins.taken]\n{GOOD}", 2, "would be io.containerd.snapshotter.v1.taken, which is installed"),
        (f'[proxy_plugins.x]\n{GOOD}platform = "what/is/this/really"', 5, "platform is not one"),
        (f'[proxy_plugins.x]\n{GOOD}lease = "l"', 5, "proxy_plugins.x.lease is of a namespace"),
        (f"[proxy_plugins.x]\n{GOOD}max_calls = 0", 5, "proxy_plugins.x.max_calls must be from 1 to 1000, not 0"),
        (f'[proxy_plugins.x]\n{GOOD}timeouts = {{ Remove = "soon" }}', 5, "has for Remove what is no duration"),
        (f'[proxy_plugins.x]\n{GOOD}timeouts = {{ Remove = "0s" }}', 5, "above 0 and up to 24h"),
    ],
)
def test_a_mistake_is_said_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    taken = ("io.containerd.snapshotter.v1.taken",)
    (made,) = proxies(tmp_path, text, taken)
    assert made.config is None
    assert made.uri.startswith("io.containerd.proxy.v1.")
    (error,) = made.errors
    assert message in error.message
    assert error.where == f"{tmp_path}/config.toml:{line}"


def test_every_mistake_is_said_not_the_first_alone(tmp_path: Path) -> None:
    (made,) = proxies(tmp_path, '[proxy_plugins.x]\ntype = "what"\naddress = 5\n')
    assert len(made.errors) == 2


def test_an_unknown_key_is_a_warning(tmp_path: Path) -> None:
    (made,) = proxies(tmp_path, f"[proxy_plugins.x]\n{GOOD}snapshoter = 'y'\n")
    assert made.config is not None
    assert [str(one) for one in made.warnings] == [
        f"{tmp_path}/config.toml:5: warning: unknown key proxy_plugins.x.snapshoter (did you mean snapshotter?)"
    ]


def test_check_knows_plugins_that_the_config_makes(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'version = 2\nrequired_plugins = ["io.containerd.snapshotter.v1.x", "io.containerd.snapshotter.v1.y"]\n'
        f"[proxy_plugins.x]\n{GOOD}[proxy_plugins.native]\n{GOOD}"
    )
    found = [str(finding) for finding in check(str(file))[0]]
    assert [text for text in found if "v1.x is" in text] == []
    assert any("io.containerd.snapshotter.v1.y is not a plugin known here" in text for text in found)
    assert any(f"{file}:6: error: proxy_plugins.native would be" in text for text in found)


def test_proxy_plugins_that_are_no_table_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("version = 2\nproxy_plugins = 5\n")
    with pytest.raises(ConfigError, match=r"config\.toml:2: proxy_plugins must be a table"):
        load(str(file)).check()
