"""Bundles on disk."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import AlreadyExists, InvalidArgument
from pycontainerd.contracts.types import AnyValue
from pycontainerd.tasks import bundle as bundles
from pycontainerd.tasks.bundle import Bundle


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "root")


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def spec(**fields: object) -> AnyValue:
    return AnyValue("spec", json.dumps(fields).encode())


def tree(*paths: str) -> list[str]:
    return [os.path.join(base, name) for path in paths for base, dirs, files in os.walk(path) for name in dirs + files]


def test_a_bundle_has_config_rootfs_and_work(root: str, state: str) -> None:
    made = bundles.create(root, state, "ns", "c", spec(hostname="h"))
    assert sorted(os.listdir(made.path)) == ["config.json", "rootfs", "work"]
    assert json.loads(made.read("config.json")) == {"hostname": "h"}
    assert os.readlink(made.file("work")) == made.work == f"{root}/ns/c"
    assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o700


def test_nobody_but_the_root_of_a_user_namespace_may_pass(root: str, state: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory to another group")
    made = bundles.create(root, state, "ns", "c", spec(linux={"gidMappings": [{"containerID": 0, "hostID": 1234}]}))
    found = os.stat(made.path)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o710, 1234)


def test_a_name_is_used_once(root: str, state: str) -> None:
    bundles.create(root, state, "ns", "c", spec())
    before = tree(root, state)
    with pytest.raises(AlreadyExists):
        bundles.create(root, state, "ns", "c", spec())
    assert tree(root, state) == before
    bundles.create(root, state, "other", "c", spec())


@pytest.mark.parametrize("value", [b"{", b"[]", b"1", b"\xff"])
def test_a_spec_that_is_no_object_leaves_nothing(root: str, state: str, value: bytes) -> None:
    with pytest.raises(InvalidArgument):
        bundles.create(root, state, "ns", "c", AnyValue("spec", value))
    assert tree(root, state) == []


def test_deletion_takes_all_of_it_and_may_be_repeated(root: str, state: str) -> None:
    made = bundles.create(root, state, "ns", "c", spec())
    Path(made.work, "data").write_text("x")
    made.write("shim.pid", "1")
    os.mkdir(f"{made.rootfs}/left-by-a-runtime")
    made.delete()
    made.delete()
    assert tree(root, state) == [f"{root}/ns", f"{state}/ns"]


def test_a_deletion_that_was_cut_short_is_finished_by_the_scan(root: str, state: str) -> None:
    made = bundles.create(root, state, "ns", "c", spec())
    kept = bundles.create(root, state, "ns", "d", spec())
    os.rename(made.path, f"{state}/ns/.c")
    assert list(bundles.scan(root, state)) == [kept]
    assert not os.path.exists(f"{state}/ns/.c")


def test_working_directories_that_a_reboot_left_are_orphans(root: str, state: str) -> None:
    kept = bundles.create(root, state, "ns", "kept", spec())
    os.makedirs(f"{root}/ns/gone/data")
    found = list(bundles.orphans(root, state))
    assert not os.path.exists(f"{root}/ns/gone")
    bundles.remove(found)
    assert os.listdir(f"{root}/ns") == ["kept"]
    assert os.path.isdir(kept.work)


def test_files_are_written_in_one_step_and_read_empty_where_there_is_none(root: str, state: str) -> None:
    made = bundles.create(root, state, "ns", "c", None)
    assert made.read("address") == ""
    made.write("address", "a")
    made.write("address", "b")
    assert made.read("address") == "b"
    assert not made.is_empty()
    assert Bundle("ns", "x", f"{state}/ns/x", "").is_empty()
