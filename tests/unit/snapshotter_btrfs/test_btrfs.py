"""What is btrfs's own in the btrfs snapshotter; what all snapshotters must do is in tests/conformance."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import AlreadyExists, FailedPrecondition, NotFound, NotImplemented
from pycontainerd.contracts.snapshots import Kind
from pycontainerd.contracts.types import Mount
from pycontainerd.kernel import Skip
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.sys.mount import mounted, unmount
from pycontainerd.testing.filesystems import loop, run
from pycontainerd_snapshotter_btrfs import place, plugin, subvolumes
from pycontainerd_snapshotter_btrfs.snapshotter import BtrfsSnapshotter

pytestmark = pytest.mark.root


class Crash(BaseException):
    """The daemon dies here."""


@pytest.fixture(scope="module")
def btrfs() -> Iterator[str]:
    with loop("btrfs") as path:
        yield path


@pytest.fixture
def root(btrfs: str) -> str:
    return tempfile.mkdtemp(prefix="root-", dir=btrfs)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    yield opened
    opened.close()


@pytest.fixture
def start(root, database):
    """A snapshotter as a daemon that starts has it."""
    return lambda: BtrfsSnapshotter(root, place.check(root), RecordStore(database).records("btrfs"))


def shape(root: str) -> dict[str, list[str]]:
    return {folder: sorted(os.listdir(os.path.join(root, folder))) for folder in ("active", "view", "snapshots")}


def test_the_layout_and_the_mounts_are_the_go_containerds(root, start):
    snapshotter = start()
    active = snapshotter.prepare("a")
    number = subvolumes.info(f"{root}/active/1").id
    assert [(one.type, one.options) for one in active] == [("btrfs", (f"subvolid={number}",))]
    assert active[0].source.startswith("/dev/loop")
    snapshotter.commit("c", "a")
    view = snapshotter.view("v", "c")
    number = subvolumes.info(f"{root}/view/2").id
    assert view[0].options == (f"subvolid={number}", "ro")
    assert shape(root) == {"active": [], "view": ["2"], "snapshots": ["1"]}
    for path, read_only in (("view/2", True), ("snapshots/1", True)):
        assert subvolumes.info(f"{root}/{path}").read_only is read_only
    snapshotter.remove("v")
    snapshotter.remove("c")
    assert shape(root) == {"active": [], "view": [], "snapshots": []}


def test_what_a_container_still_writes_does_not_reach_the_committed_snapshot(start):
    snapshotter = start()
    with mounted(snapshotter.prepare("a")) as path:
        with open(f"{path}/f", "w") as file:
            file.write("before")
        snapshotter.commit("c", "a")
        with contextlib.suppress(OSError), open(f"{path}/f", "w") as file:  # its subvolume is gone
            file.write("after")
    with mounted(snapshotter.view("v", "c")) as path, open(f"{path}/f") as file:
        assert file.read() == "before"


def test_usage_counts_what_is_new_and_nothing_of_the_parent(root, start):
    snapshotter = start()
    with mounted(snapshotter.prepare("a")) as path:
        for number in range(20):
            Path(path, str(number)).write_bytes(os.urandom(100_000))
    snapshotter.commit("bottom", "a")
    bottom = snapshotter.usage("bottom")
    assert (bottom.inodes, bottom.size >= 2_000_000) == (21, True)
    with mounted(snapshotter.prepare("b", "bottom")) as path:
        assert snapshotter.usage("b").size == snapshotter.usage("b").inodes == 0
        Path(path, "0").unlink()
        Path(path, "new").write_bytes(os.urandom(50_000))
        Path(path, "small").write_bytes(b"inline")
        with open(os.path.join(path, "1"), "r+b") as file:
            file.write(b"changed")
    snapshotter.commit("top", "b")
    top = snapshotter.usage("top")
    assert top.inodes == 2
    assert 50_006 <= top.size < 100_000


def test_subvolumes_made_in_a_snapshot_go_with_it(root, start):
    snapshotter = start()
    snapshotter.prepare("a")
    top = f"{root}/active/1"
    os.mkdir(f"{top}/var")
    subvolumes.create(f"{top}/var/one", 0o755)
    subvolumes.create(f"{top}/var/one/two", 0o755)
    os.mkdir(f"{top}/var/one/two/directory")
    subvolumes.snapshot(f"{top}/var/one/two", f"{top}/var/one/two/directory/three", read_only=True)
    run("btrfs", "property", "set", f"{top}/var/one/two", "ro", "true")
    snapshotter.remove("a")
    assert shape(root) == {"active": [], "view": [], "snapshots": []}
    assert root not in run("btrfs", "subvolume", "list", root)


@pytest.mark.parametrize("moment", ["before the record", "after the record"])
def test_a_crash_in_a_commit_leaves_the_active_or_the_committed_snapshot(root, start, monkeypatch, moment):
    snapshotter = start()
    with mounted(snapshotter.prepare("a")) as path:
        Path(path, "f").write_text("1")
    records = snapshotter._records
    commit = records.commit

    def crashing(*arguments):
        if moment == "after the record":
            commit(*arguments)
        monkeypatch.setattr(os, "rename", dying)
        monkeypatch.setattr(subvolumes.ioctls, "destroy", dying)
        raise Crash

    def dying(*_):
        raise Crash

    monkeypatch.setattr(records, "commit", crashing)
    with pytest.raises(Crash):
        snapshotter.commit("c", "a")
    assert shape(root) == {"active": ["rm.1"], "view": [], "snapshots": ["new.1"]}
    monkeypatch.undo()
    again = start()
    again.cleanup()
    if moment == "after the record":
        assert shape(root) == {"active": [], "view": [], "snapshots": ["1"]}
        mounts = again.view("v", "c")
    else:
        assert shape(root) == {"active": ["1"], "view": [], "snapshots": []}
        again.commit("c", "a")
        mounts = again.view("v", "c")
    with mounted(mounts) as path:
        assert Path(path, "f").read_text() == "1"


@pytest.mark.parametrize("aside", ["new.1", "rm.1"])
def test_a_subvolume_that_has_its_record_is_whole_whatever_a_crash_called_it(root, start, aside):
    with mounted(start().prepare("a")) as path:
        Path(path, "f").write_text("kept")
    os.rename(f"{root}/active/1", f"{root}/active/{aside}")
    with mounted(start().mounts("a")) as path:
        assert Path(path, "f").read_text() == "kept"
    assert shape(root)["active"] == ["1"]


def test_an_active_subvolume_that_a_power_cut_brought_back_is_deleted(root, start):
    """Its deletion was not on the disk yet, the record of its commit was."""
    snapshotter = start()
    snapshotter.prepare("a")
    snapshotter.commit("c", "a")
    subvolumes.snapshot(f"{root}/snapshots/1", f"{root}/active/1", read_only=False)
    start().cleanup()
    assert shape(root) == {"active": [], "view": [], "snapshots": ["1"]}


def test_what_has_no_record_and_a_plain_name_is_left_alone(root, start):
    start()
    subvolumes.create(f"{root}/active/77", 0o700)
    snapshotter = start()
    snapshotter.cleanup()
    assert shape(root)["active"] == ["77"]
    snapshotter.prepare("a")
    assert shape(root)["active"] == ["77", "78"]


def test_a_failed_commit_leaves_everything_as_it_was(root, start):
    snapshotter = start()
    for key in ("a", "b"):
        snapshotter.prepare(key)
    snapshotter.commit("c", "a")
    before = shape(root)
    with pytest.raises(AlreadyExists):
        snapshotter.commit("c", "b")
    assert shape(root) == before
    assert snapshotter.stat("b").kind is Kind.ACTIVE
    with pytest.raises(NotImplemented, match="all its files"):
        snapshotter.commit("d", "b", parent="c")
    snapshotter.view("v", "c")
    with pytest.raises(FailedPrecondition):
        snapshotter.commit("d", "v")


def test_a_parent_whose_subvolume_is_gone_is_said(root, start):
    snapshotter = start()
    snapshotter.prepare("a")
    snapshotter.commit("c", "a")
    subvolumes.delete(f"{root}/snapshots/1")
    with pytest.raises(NotFound, match=r"snapshots/1 .*unpack the image again"):
        snapshotter.prepare("b", "c")
    assert shape(root)["active"] == []
    snapshotter.remove("c")
    assert [info.name for info in snapshotter.walk()] == []


def test_another_file_system_is_skipped_with_what_would_help(tmp_path):
    with pytest.raises(Skip, match=r"need a btrfs \(mount one there, or set root_path"):
        place.check(str(tmp_path / "not" / "made"))
    assert os.listdir(tmp_path) == []


def test_a_subvolume_with_automatic_snapshots_is_refused_with_what_would_help(btrfs):
    top = f"{btrfs}/var"
    subvolumes.create(top, 0o755)
    subvolumes.create(f"{top}/.snapshots", 0o750)
    os.makedirs(f"{top}/lib/containerd")
    with pytest.raises(Skip, match="btrfs subvolume create"):
        place.check(f"{top}/lib/containerd")
    subvolumes.create(f"{top}/lib/own", 0o700)
    assert place.check(f"{top}/lib/own").startswith("/dev/")


def test_what_is_on_disk_is_told_while_no_daemon_runs(root, start, tmp_path):
    snapshotter = start()
    snapshotter.prepare("a")
    snapshotter.commit("c", "a")
    subvolumes.create(f"{root}/active/rm.7", 0o700)
    found = {holding.path: holding for holding in plugin.holdings(root)}
    assert {path: (one.number, one.leftover) for path, one in found.items()} == {
        f"{root}/snapshots/1": (1, False),
        f"{root}/active/rm.7": (7, True),
    }
    number = subvolumes.info(f"{root}/active/rm.7").id
    with mounted([Mount("btrfs", place.mount_of(root).source, options=(f"subvolid={number}",))]) as point:
        with pytest.raises(FailedPrecondition, match=f"mounted at {point}"):
            found[f"{root}/active/rm.7"].delete()
        assert shape(root)["active"] == ["rm.7"]
    found[f"{root}/active/rm.7"].delete()
    assert shape(root)["active"] == []
    with pytest.raises(FailedPrecondition, match="not mounted"):
        list(plugin.holdings(str(tmp_path)))


def test_a_committed_snapshot_is_on_the_disk_when_the_commit_returns(database, tmp_path):
    """A copy of the disk at that moment, as a power cut leaves it, has all of it."""
    data = os.urandom(3 << 20)
    with loop("btrfs") as path:
        root = f"{path}/root"
        snapshotter = BtrfsSnapshotter(root, place.check(root), RecordStore(database).records("btrfs"))
        for key in ("a", "b"):
            with mounted(snapshotter.prepare(key)) as point:
                Path(point, "f").write_bytes(data)
            if key == "a":
                snapshotter.commit("c", "a")
                shutil.copyfile(f"{os.path.dirname(path)}/disk", tmp_path / "disk")
    (tmp_path / "mnt").mkdir()
    run("mount", "-o", "loop", str(tmp_path / "disk"), str(tmp_path / "mnt"))
    try:
        left = tmp_path / "mnt/root"
        (found,) = [path for path in left.glob("*/*") if path.parent.name == "snapshots"]
        assert (found / "f").read_bytes() == data
    finally:
        unmount(str(tmp_path / "mnt"))
