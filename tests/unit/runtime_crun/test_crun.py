"""crun: what is found out about it, and its answers in the words the shim knows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import FailedPrecondition, Internal, NotFound
from pycontainerd.testing import needs
from pycontainerd_runtime_crun.driver import OCI_VERSION, lower_version, translate
from pycontainerd_runtime_crun.probe import features, hybrid, probe


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_real_one_is_known_with_its_version_and_features() -> None:
    path = needs.command("crun")
    found = probe(path, "/nonexistent")
    assert (found.path, found.problem) == (path, "")
    assert found.version[0].isdigit()
    assert "SECCOMP" in found.features


def test_one_that_is_not_there_is_a_problem_said() -> None:
    assert probe("crun-that-is-not-there").problem == "crun-that-is-not-there is not installed"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo runc version 1", "is not crun's (status 0): 'runc version 1'"),
        ("echo broken >&2; exit 3", "is not crun's (status 3): 'broken'"),
        ("exec /nonexistent", "is not crun's (status 127)"),
    ],
)
def test_what_is_not_crun_is_a_problem_said(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in probe(script(tmp_path / "crun", text)).problem


def test_what_cannot_be_run_is_a_problem_said(tmp_path: Path) -> None:
    (tmp_path / "crun").write_text("no program")
    (tmp_path / "crun").chmod(0o755)
    assert "--version failed" in probe(str(tmp_path / "crun")).problem


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("crun version 1\nspec: 1.0.0\n+SYSTEMD +SECCOMP -CRIU\n", ("SYSTEMD", "SECCOMP")),
        ("crun version 1\nspec: 1.0.0\n", ()),
        ("", ()),
    ],
)
def test_features_are_those_with_a_plus(text: str, names: tuple[str, ...]) -> None:
    assert features(text) == names


def test_hybrid_cgroups_are_a_problem_where_the_second_half_has_controllers(tmp_path: Path) -> None:
    assert hybrid(str(tmp_path)) == ""
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("\n")
    assert hybrid(str(tmp_path)) == ""
    (tmp_path / "unified" / "cgroup.controllers").write_text("hugetlb rdma\n")
    assert "has the controllers hugetlb, rdma" in hybrid(str(tmp_path))


@pytest.mark.parametrize(
    ("verb", "said", "kind"),
    [
        ("start", "error opening file `/r/x/status`: No such file or directory", NotFound),
        ("exec", "error opening file `/r/x/status`: No such file or directory", NotFound),
        ("kill", "error opening file `/r/x/status`: No such file or directory", Internal),
        ("delete", "cannot open directory '/r/x': No such file or directory", Internal),
        ("create", "cgroups in hybrid mode not supported, drop all controllers from cgroupv2", FailedPrecondition),
        ("create", "error opening file `/bin/none`: No such file or directory", Internal),
    ],
)
def test_answers_are_put_in_the_words_of_runc(verb: str, said: str, kind: type[Exception]) -> None:
    error = translate(verb, Internal(f"OCI runtime {verb} of x failed: crun: {said}"))
    assert type(error) is kind
    assert said in error.message
    assert ("does not exist" in error.message) == ("/r/x" in said)


def test_the_version_of_the_spec_is_one_that_every_crun_takes(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"ociVersion": "1.2.1", "hostname": "ä", "annotations": {"ociVersion": "mine"}}))
    lower_version(str(path))
    expected = {"ociVersion": OCI_VERSION, "hostname": "ä", "annotations": {"ociVersion": "mine"}}
    assert json.loads(path.read_bytes()) == expected
    before = os.stat(path).st_mtime_ns
    lower_version(str(path))
    assert os.stat(path).st_mtime_ns == before


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_spec_that_is_none_is_left_to_crun(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    lower_version(str(path))
    assert path.read_text() == text
