"""`containerd config …` as a command: what it prints, and the exit status that scripts rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from pycontainerd.testing import needs

NATIVE = "io.containerd.snapshotter.v1.native"


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pycontainerd.server.main", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'version = 2\nroot = "{tmp_path}/root"\n# the socket\n[grpc]\n  address = "{tmp_path}/c.sock"\n')
    return path


@pytest.mark.parametrize("words", [["foo"], ["help"], ["-l", "info", "start"], ["configs", "dump"]])
def test_a_stray_word_starts_no_daemon(config: Path, words: list[str]) -> None:
    done = run("-c", str(config), *words)
    assert done.returncode == 2
    assert "there is no command" in done.stderr
    assert not (config.parent / "root").exists()


@pytest.mark.parametrize("words", [[], ["dumb"], ["dump", "stray"], ["explain"], ["default", "x"]])
def test_a_wrong_use_of_config_is_status_2(words: list[str]) -> None:
    done = run("config", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: containerd config" in done.stderr


def test_default_prints_a_configuration_that_passes_the_check(tmp_path: Path) -> None:
    done = run("config", "default")
    assert done.returncode == 0
    assert "# Where persistent data is.\nroot = " in done.stdout
    path = tmp_path / "config.toml"
    path.write_text(done.stdout)
    assert run("-c", str(path), "config", "check", "--strict").returncode == 0


def test_check_fails_on_errors_and_with_strict_on_warnings(config: Path) -> None:
    assert run("-c", str(config), "config", "check").returncode == 0
    config.write_text(f'version = 3\nroots = "/r"\n[plugins."{NATIVE}"]\nroot_path = "/n"\n')
    done = run("config", "check", "-c", str(config))
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [f"{config}:2: warning: unknown key roots (did you mean root?)", "0 errors, 1 warning, 0 notes, 1 file"],
    )
    assert run("-c", str(config), "config", "check", "--strict").returncode == 1
    config.write_text(f'version = 3\nroot = 1\nstate = [\n[plugins."{NATIVE}"]\nroot_path = 1\n')
    done = run("-c", str(config), "config", "check", "-o", "json")
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert {row["file"] for row in rows} == {str(config)}
    assert all(row["severity"] == "error" and row["line"] for row in rows)


def test_a_file_that_is_not_there_is_an_error_of_every_command(tmp_path: Path) -> None:
    for words in (["dump"], ["migrate"], ["check"], ["explain", "root"]):
        done = run("-c", str(tmp_path / "none.toml"), "config", *words)
        assert done.returncode == 1
        assert "cannot read config file" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_dump_refuses_values_of_the_wrong_type_with_all_of_them(config: Path) -> None:
    config.write_text(f'version = 3\n[plugins."{NATIVE}"]\nroot_path = 1\n[debug]\nformat = "text"\n')
    done = run("-c", str(config), "config", "dump")
    assert done.returncode == 1
    assert f"{config}:3: error:" in done.stderr


def test_explain_names_the_line_and_the_nearest_key_of_a_misspelt_one(config: Path) -> None:
    done = run("-c", str(config), "config", "explain", "grpc.address")
    assert done.returncode == 0
    assert f'{config}:5: "{config.parent}/c.sock" (as grpc.address)' in done.stdout
    done = run("-c", str(config), "config", "explain", "roots")
    assert (done.returncode, done.stderr) == (1, "containerd config: there is no key roots; did you mean root?\n")


def test_schema_is_json_with_a_table_for_each_plugin() -> None:
    done = run("config", "schema")
    assert done.returncode == 0
    made = json.loads(done.stdout)
    assert made["properties"]["plugins"]["properties"][NATIVE]["properties"]["root_path"]["type"] == "string"


def test_migrate_prints_and_in_place_rewrites_file_and_imports(config: Path) -> None:
    drop_in = config.parent / "a.toml"
    drop_in.write_text('# v1\n[plugins.native]\nroot_path = "/n"\n')
    config.write_text('imports = ["a.toml"]\n' + config.read_text())
    before = run("-c", str(config), "config", "dump").stdout
    old = config.read_text()
    config.chmod(0o640)
    done = run("-c", str(config), "config", "migrate")
    assert done.returncode == 0
    assert "# the socket" in done.stdout
    assert tomli.loads(done.stdout)["version"] == 4
    assert config.read_text() == old
    done = run("-c", str(config), "config", "migrate", "--in-place")
    assert done.stdout.splitlines() == [
        f"{config}: version 2 is now version 4",
        f"{drop_in}: version 1 is now version 4",
    ]
    assert tomli.loads(config.read_text())["version"] == tomli.loads(drop_in.read_text())["version"] == 4
    assert Path(f"{config}.bak").read_text() == old
    assert config.stat().st_mode & 0o777 == 0o640
    assert run("-c", str(config), "config", "dump").stdout == before
    again = run("-c", str(config), "config", "migrate", "--in-place")
    assert (again.returncode, again.stdout) == (0, "")
    assert sorted(os.listdir(config.parent)) == ["a.toml", "a.toml.bak", "config.toml", "config.toml.bak"]


@pytest.mark.interop
def test_the_default_of_the_go_containerd_checks_dumps_and_migrates(tmp_path: Path) -> None:
    go = needs.command("containerd")
    text = subprocess.run([go, "config", "default"], capture_output=True, text=True, check=True, timeout=30).stdout
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert run("-c", str(path), "config", "check", "--strict").returncode == 0
    ours = tomli.loads(run("-c", str(path), "config", "dump").stdout)
    theirs = tomli.loads(text)
    assert {key: ours[key] for key in ("root", "state", "stream_processors", "timeouts")} == {
        key: theirs[key] for key in ("root", "state", "stream_processors", "timeouts")
    }
    done = run("-c", str(path), "config", "migrate")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_daemon_logs_what_reading_its_configuration_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('version = 3\nRoot = "/proc/none"\n')
    done = run("-c", str(path), "-a", f"{tmp_path}/c.sock")
    assert done.returncode == 1
    assert f"{path}:2: note: Root is taken as root (write root)" in done.stderr
