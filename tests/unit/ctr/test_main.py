"""ctr as people call it, without a daemon: help, aliases, errors that say what to do, and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pycontainerd.ctr.main import ALIASES, COMMANDS, root


def ctr(*args: str, **env: str) -> tuple[int, str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CONTAINERD_")}
    done = subprocess.run(
        [sys.executable, "-m", "pycontainerd.ctr.main", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, **env},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_missing_socket_is_named_with_what_to_do(tmp_path: Path) -> None:
    code, out, error = ctr("-a", f"{tmp_path}/none.sock", "version")
    assert (code, out) == (6, "")
    assert f"{tmp_path}/none.sock: no such socket" in error
    assert "is containerd running?" in error


def test_the_environment_names_the_socket(tmp_path: Path) -> None:
    assert f"{tmp_path}/other.sock" in ctr("images", "ls", CONTAINERD_ADDRESS=f"{tmp_path}/other.sock")[2]


def test_a_socket_that_nobody_serves_is_said(tmp_path: Path) -> None:
    path = f"{tmp_path}/dead.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    code, _, error = ctr("-a", path, "images", "ls")
    assert code == 6
    assert "is containerd running?" in error


def test_a_server_that_does_not_answer_is_given_up_on(tmp_path: Path) -> None:
    path = f"{tmp_path}/mute.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        code, _, error = ctr("-a", path, "--timeout", "300ms", "images", "ls")
    assert code in (6, 8)
    assert error


@pytest.mark.parametrize("args", [["nosuch"], ["images", "nosuch"], ["run"], ["images", "ls", "--nosuch"]])
def test_wrong_usage_is_2(args: list[str]) -> None:
    code, _, error = ctr(*args)
    assert code == 2
    assert "Error" in error


def test_every_command_has_help_and_every_alias_leads_to_one() -> None:
    runner = CliRunner()
    for name in [*COMMANDS, *ALIASES]:
        result = runner.invoke(root, [name, "--help"])
        assert result.exit_code == 0, name
        assert "Usage:" in result.output


def test_the_help_lists_commands_with_their_aliases() -> None:
    out = CliRunner().invoke(root, ["--help"]).output
    assert "tasks, t, task" in out
    assert "containers, c, container" in out


def test_one_command_does_not_load_the_others() -> None:
    code = (
        "import sys; from pycontainerd.ctr.main import root; root.main(['version', '--help'], standalone_mode=False);"
        "print([m for m in sys.modules if m in ('rich', 'aiohttp', 'pycontainerd.ctr.run', 'pycontainerd.client.transfer')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
