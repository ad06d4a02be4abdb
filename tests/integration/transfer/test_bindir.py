"""Image verifiers that are programs, between a real daemon and a real registry."""

from __future__ import annotations

import json
import os
import textwrap
import uuid
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.hooks import Candidate, Judgement
from pycontainerd.contracts.types import Descriptor
from pycontainerd.kernel import Logger
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon
from pycontainerd.transfer.bindir import BindirVerifier
from pycontainerd.transfer.limits import BindirConfig

IMAGE = Candidate("default", "r.test/a:1", Descriptor("application/x", "sha256:" + "1" * 64, 5, annotations={"a": "b"}))


def program(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
    path.chmod(0o755)


def judged(directory: Path, **more) -> Judgement:
    return BindirVerifier(BindirConfig(str(directory), **more), Logger("test")).verify_image(IMAGE)


def test_a_program_gets_name_digest_and_descriptor_and_its_output_is_the_reason(tmp_path):
    program(tmp_path, "one", f'cat > {tmp_path}/.stdin; echo "$@" > {tmp_path}/.args; echo well')
    os.makedirs(tmp_path / "bin")
    os.rename(tmp_path / "one", tmp_path / "bin/one")
    assert judged(tmp_path / "bin") == Judgement(True, "one: well")
    digest = "sha256:" + "1" * 64
    expected = f"-name r.test/a:1 -digest {digest} -stdin-media-type application/vnd.oci.descriptor.v1+json\n"
    assert (tmp_path / ".args").read_text() == expected
    assert json.loads((tmp_path / ".stdin").read_text()) == {
        "mediaType": "application/x",
        "digest": digest,
        "size": 5,
        "annotations": {"a": "b"},
    }


def test_without_programs_nothing_is_verified(tmp_path):
    assert judged(tmp_path / "none").ok
    assert judged(tmp_path).ok


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no thanks; exit 3", "bad: no thanks (exit status 3)"),
        ("kill -9 $$", "bad: it gives no reason (signal 9)"),
        ("sleep 60", "bad: it did not end within 200ms"),
    ],
)
def test_whatever_is_no_yes_refuses(tmp_path, script, said):
    program(tmp_path, "a-good", "exit 0")
    program(tmp_path, "bad", script)
    assert judged(tmp_path, per_verifier_timeout="200ms" if "sleep" in script else "20s") == Judgement(False, said)


def test_what_cannot_be_run_refuses(tmp_path):
    (tmp_path / "text").write_text("hello")
    assert "it cannot be run: Permission denied" in judged(tmp_path).reason
    (tmp_path / "text").unlink()
    (tmp_path / "directory").mkdir()
    assert not judged(tmp_path).ok


def test_only_the_first_ones_by_name_are_asked_where_their_number_is_limited(tmp_path):
    for name in ("a", "b"):
        program(tmp_path, name, "exit 0")
    program(tmp_path, "c", "exit 1")
    assert judged(tmp_path, max_verifiers=2).ok
    assert not judged(tmp_path, max_verifiers=3).ok
    assert not judged(tmp_path, max_verifiers=-1).ok


def test_output_without_end_is_cut_and_children_do_not_stay(tmp_path):
    program(tmp_path, "loud", f"head -c 10000000 /dev/zero | tr '\\0' x; sleep 300 & echo $! > {tmp_path}/.pid")
    os.makedirs(tmp_path / "bin")
    os.rename(tmp_path / "loud", tmp_path / "bin/loud")
    judgement = judged(tmp_path / "bin")
    assert judgement.ok
    assert 1 << 14 < len(judgement.reason) < 1 << 16
    status = Path(f"/proc/{(tmp_path / '.pid').read_text().strip()}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"  # until init reaps it


@pytest.mark.parametrize("text", ["0s", "-1s", "1h", "soon"])
def test_a_timeout_that_cannot_be_is_refused(text):
    with pytest.raises(InvalidArgument):
        BindirConfig(per_verifier_timeout=text)


@pytest.mark.root
def test_a_daemon_pulls_only_what_all_programs_allow(registry, host_image, tmp_path):
    program(tmp_path, "policy", 'case "$2" in */good/*) echo fine;; *) echo "$2 is not good"; exit 1;; esac')
    unique = uuid.uuid4().hex[:8]
    good, bad = (registry.put(f"{unique}/{kind}/app", "1", host_image) for kind in ("good", "bad"))
    config = f'[plugins."io.containerd.image-verifier.v1.bindir"]\nbin_dir = "{tmp_path}"\n'
    with Daemon.ours(config=config) as daemon:
        ctr = Ctr(OURS, daemon.address)
        ctr("images", "pull", "--plain-http", good)
        code, _, error = ctr.status("images", "pull", "--plain-http", bad)
        assert code != 0
        assert f"plugin io.containerd.image-verifier.v1.bindir refuses it: policy: {bad} is not good" in error
        assert ctr("images", "ls", "-q").split() == [good]
