"""Each kind of package that ``ctr plugins new`` writes: built, installed into a clean environment, and its tests pass."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument
from pycontainerd.ctr import scaffold
from pycontainerd.ctr.scaffold import KINDS, create

pytestmark = pytest.mark.root


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_new_package_passes_its_tests_as_it_stands(clean_venv, tmp_path, kind):
    name = f"sample-{kind}"
    said = clean_venv.run("ctr", "plugins", "new", kind, name, "--dir", str(tmp_path))
    package = tmp_path / f"pycontainerd-{kind}-{name}"
    assert str(package) in said
    clean_venv.install_package(package)
    try:
        assert "passed" in clean_venv.run("pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    finally:
        clean_venv.packages("pip", "uninstall", "-q", "--python", clean_venv.python, package.name)


def test_what_is_written_is_formatted_sorted_and_typed(tmp_path):
    packages = [create(kind, "my-own", str(tmp_path)) for kind in sorted(KINDS)]
    for package in packages:
        for command in (["format", "--check"], ["check", "--extend-select", "B,C4,I,RUF,SIM,UP"]):
            check(sys.executable, "-m", "ruff", *command, "--no-cache", package, cwd=package)
    sources = [f"{package}/src" for package in packages]
    check(sys.executable, "-m", "mypy", "--strict", "--cache-dir", f"{tmp_path}/cache", *sources, cwd=tmp_path)


def check(*command, cwd):
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["", "Upper", "a--b", "-a", "1a", "a_b", "a/b", "x" * 41, "é"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path, name):
    with pytest.raises(InvalidArgument, match="cannot be called"):
        create("hook", name, str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_nothing_is_written_over(tmp_path):
    create("hook", "mine", str(tmp_path))
    with pytest.raises(AlreadyExists, match="it is there already"):
        create("hook", "mine", str(tmp_path))


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def broken(kind, values):
        yield "src/a.py", "a"
        raise OSError("disk full")

    monkeypatch.setattr(scaffold, "files", broken)
    with pytest.raises(OSError, match="disk full"):
        create("hook", "mine", str(tmp_path))
    assert os.listdir(tmp_path) == []
