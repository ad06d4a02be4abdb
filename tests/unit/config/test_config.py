"""Config files: layers, lines, and errors that say where."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

import attrs
import pytest

from pycontainerd.config import ConfigError, load
from pycontainerd.config.loader import MAX_FILE
from pycontainerd.config.records import DEFAULT_ADDRESS

URI = "io.example.thing.v1.x"


@attrs.frozen
class Config:
    size: int = 1
    name: str = "n"
    enabled: bool = False
    paths: Sequence[str] = ()


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_version_loads(write, version):
    settings = load(write(f'version = {version}\nroot = "/r"\n[grpc]\n  address = "/s.sock"\n'))
    assert (settings.root, settings.address, settings.ttrpc_address) == ("/r", "/s.sock", "/s.sock.ttrpc")


def test_an_empty_file_is_the_defaults(write):
    settings = load(write(""))
    assert (settings.root, settings.state, settings.address) == (
        "/var/lib/containerd",
        "/run/containerd",
        DEFAULT_ADDRESS,
    )


def test_version_4_names_the_listener_as_a_plugin(write):
    settings = load(write('version = 4\n[plugins."io.containerd.server.v1.grpc"]\naddress = "/four.sock"\n'))
    assert settings.address == "/four.sock"


@pytest.mark.parametrize("version", ["5", '"2"', "0", "true", "[2]"])
def test_another_version_is_refused_with_its_file(write, version):
    path = write(f"version = {version}\n")
    with pytest.raises(ConfigError, match="is not one this daemon reads") as caught:
        load(path)
    assert path in str(caught.value)


def test_imports_are_globbed_relative_to_the_file_and_later_files_win(write):
    main = write('version = 3\nimports = ["conf.d/*.toml"]\nroot = "/a"\n[debug]\nlevel = "info"\nformat = "json"\n')
    write('root = "/b"\n[debug]\nlevel = "warn"\n', "conf.d/10-b.toml")
    last = write('version = 3\nroot = "/c"\n', "conf.d/20-c.toml")
    settings = load(main)
    assert settings.root == "/c"
    assert settings.values["debug"] == {"level": "warn", "format": "json"}
    assert settings.where(("root",)) == f"{last}:2"
    assert [os.path.basename(name) for name in settings.files] == ["config.toml", "10-b.toml", "20-c.toml"]


def test_lists_of_plugins_add_up_each_with_its_line(write):
    main = write('version = 3\nimports = ["more.toml"]\ndisabled_plugins = [\n  "a.v1.x",\n  "a.v1.y",\n]\n')
    more = write('version = 3\ndisabled_plugins = ["a.v1.y", "a.v1.z"]\nrequired_plugins = ["a.v1.r"]\n', "more.toml")
    settings = load(main)
    assert settings.disabled == {"a.v1.x": f"{main}:4", "a.v1.y": f"{more}:2", "a.v1.z": f"{more}:2"}
    assert settings.required == {"a.v1.r": f"{more}:3"}


def test_files_that_import_each_other_are_read_once(write):
    main = write('version = 3\nimports = ["b.toml"]\nroot = "/a"\n')
    write('version = 3\nimports = ["config.toml", "b.toml"]\nstate = "/b"\n', "b.toml")
    settings = load(main)
    assert (settings.root, settings.state, len(settings.files)) == ("/a", "/b", 2)


def test_an_import_that_is_no_pattern_must_exist_and_a_pattern_may_match_nothing(write):
    load(write('version = 3\nimports = ["none.d/*.toml"]\n'))
    with pytest.raises(ConfigError, match=r"cannot read config file .*gone\.toml"):
        load(write('version = 3\nimports = ["gone.toml"]\n'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 3\nroot = 5\n", ":2: root must be a str, not 5"),
        ("version = 3\n[grpc]\naddress = []\n", r":3: grpc.address must be a str, not \[\]"),
        ("version = 3\ndisabled_plugins = 5\n", ":2: disabled_plugins must be a list, not 5"),
        ('version = 3\ndisabled_plugins = "cri"\n', ":2: disabled_plugins must be a list, not 'cri'"),
        ("version = 3\nrequired_plugins = [1]\n", ":2: required_plugins must hold plugin URIs, not 1"),
        ('version = 3\nimports = "x"\n', ":2: imports must be a list of paths"),
        ("version = 3\nimports = [3]\n", ":2: imports must be a list of paths"),
        ("version = 3\nplugins = 3\n", ":2: plugins must be a"),
        ("version = \n", r"line 1"),
    ],
)
def test_a_wrong_value_is_an_error_with_file_and_line(write, text, message):
    path = write(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path).check()
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('size = "big"', r"size must be an int, not 'big'"),
        ("size = true", "size must be an int, not True"),
        ("size = 1.5", "size must be an int, not 1.5"),
        ("name = 3", "name must be a str, not 3"),
        ("enabled = 1", "enabled must be a bool, not 1"),
        ("paths = 3", "paths must be a"),
    ],
)
def test_a_plugins_wrong_value_says_key_file_and_line(write, line, message):
    path = write(f'version = 3\n[plugins."{URI}"]\n\n  {line}\n')
    with pytest.raises(ConfigError, match=message) as caught:
        load(path).plugin(URI, Config)
    assert f"{path}:4" in str(caught.value)


def test_a_plugins_table_becomes_its_config(write):
    path = write(f'version = 3\n[plugins."{URI}"]\nsize = 5\nenabled = true\npaths = ["a", "b"]\n')
    config = load(path).plugin(URI, Config)
    assert (config.size, config.name, config.enabled, list(config.paths)) == (5, "n", True, ["a", "b"])


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_that_exists(write):
    path = write(f'version = 3\n[plugins."{URI}"]\nsice = 5\n')
    assert list(load(path).unknown_keys(URI, Config)) == [
        f"{path}:3: unknown key 'sice' of {URI}; did you mean 'size'?"
    ]


def test_a_file_over_the_limit_and_one_that_is_not_utf8_are_refused(write):
    with pytest.raises(ConfigError, match="larger than"):
        load(write(b"#" * (MAX_FILE + 1)))
    with pytest.raises(ConfigError, match="not UTF-8: byte 2"):
        load(write(b"# \xff\n"))
    with pytest.raises(ConfigError, match="cannot read config file"):
        load("/nonexistent/config.toml")


@pytest.mark.parametrize(
    "text",
    [
        f"[{'.'.join('a' * 900)}]\n",
        f"x = {{{'.'.join('a' * 900)} = 1}}\n",
        f"x = {'[' * 200}1{']' * 200}\n",
        f"x = {'[' * 9000}",
    ],
)
def test_a_file_that_is_nested_too_deep_is_refused(write, text):
    path = write(f"version = 4\n{text}")
    with pytest.raises(ConfigError, match=r"nested (too deep|more than 100 deep)") as caught:
        load(path)
    assert path in str(caught.value)


def test_the_default_config_of_the_go_containerd_loads_as_it_is(write):
    binary = shutil.which("containerd", path="/usr/bin:/usr/local/bin")
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("the Go containerd is missing: run packaging/setup.sh test")
        pytest.skip("the Go containerd is not installed")
    text = subprocess.run([binary, "config", "default"], capture_output=True, check=True, timeout=30).stdout
    settings = load(write(text))
    settings.check()
    assert settings.address == "/run/containerd/containerd.sock"
    pause = ("plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox")
    assert settings.names[pause] == ("plugins", "io.containerd.grpc.v1.cri", "sandbox_image")
    line = int(settings.where(pause).rpartition(":")[2])
    assert "sandbox_image" in text.decode().splitlines()[line - 1]
