"""What is overlayfs's own in the overlay snapshotter; what all snapshotters must do is in tests/conformance."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument
from pycontainerd.contracts.types import Mount
from pycontainerd.kernel import Skip
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.sys import mountapi
from pycontainerd.sys.mount import mount_all, mounted, remove_tree, unmount
from pycontainerd_snapshotter_overlay import owners, probe, volatile
from pycontainerd_snapshotter_overlay.snapshotter import UPPERDIR_LABEL, OverlaySnapshotter

pytestmark = pytest.mark.root

MAPPED = {owners.UIDS: "0:100000:65536", owners.GIDS: "0:200000:65536"}


@pytest.fixture
def root() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    yield path
    remove_tree(path)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
    yield opened
    opened.close()


@pytest.fixture
def start(root, database):
    made = []

    def new(**settings):
        settings.setdefault("options", ("index=off",))
        made.append(OverlaySnapshotter(root, RecordStore(database).records("overlayfs"), **settings))
        return made[-1]

    yield new
    for snapshotter in made:
        snapshotter.close()
        snapshotter.cleanup()


def layers(snapshotter, root, count):
    """Commit ``count`` layers of one file each; the name of the topmost."""
    parent = ""
    for number in range(1, count + 1):
        snapshotter.prepare(f"a{number}", parent)
        Path(root, "snapshots", str(number), "fs", str(number)).write_text(str(number))
        snapshotter.commit(f"c{number}", f"a{number}")
        parent = f"c{number}"
    return parent


@pytest.mark.parametrize("way", ["layer by layer", "from the common directory"])
def test_more_layers_than_a_page_of_options_holds_are_mounted(root, start, monkeypatch, way):
    if way == "from the common directory":  # as kernels before 6.7

        def missing(_):
            raise OSError(errno.ENOSYS, "fsopen")

        monkeypatch.setattr(mountapi, "fsopen", missing)
    snapshotter = start()
    top = layers(snapshotter, root, 320)
    mounts = snapshotter.prepare("p", top)
    assert len(",".join(mounts[0].options)) > 2 * os.sysconf("SC_PAGE_SIZE")
    for key in ("p", "v"):
        with mounted(snapshotter.mounts("p") if key == "p" else snapshotter.view("v", top)) as path:
            assert set(os.listdir(path)) == {str(number) for number in range(1, 321)}


def test_mounts_have_the_configured_options_behind_the_layers(root, start):
    snapshotter = start(options=("index=off", "metacopy=on"))
    top = layers(snapshotter, root, 2)
    base = f"{root}/snapshots"
    assert snapshotter.prepare("p", top)[0].options == (
        f"workdir={base}/3/work",
        f"upperdir={base}/3/fs",
        f"lowerdir={base}/2/fs:{base}/1/fs",
        "index=off",
        "metacopy=on",
    )
    assert snapshotter.view("v", "c1")[0] == Mount("bind", f"{base}/1/fs", options=("ro", "rbind"))


@pytest.mark.parametrize(
    "options",
    [
        ("index=on",),
        ("metacopy=on", "redirect_dir=on"),
        ("userxattr",),
        ("index=off", "xino=off"),
        ("nfs_export=on", "index=on"),
    ],
)
def test_options_of_overlayfs_work_when_mounted(root, start, options):
    probe.check(root, options)
    snapshotter = start(options=options)
    top = layers(snapshotter, root, 2)
    with mounted(snapshotter.prepare("p", top)) as path:
        os.chmod(f"{path}/1", 0o600)
        Path(path, "2").unlink()
    snapshotter.commit("c", "p")
    with mounted(snapshotter.view("v", "c")) as path:
        assert os.listdir(path) == ["1"]
        assert os.stat(f"{path}/1").st_mode & 0o777 == 0o600
        assert Path(path, "1").read_text() == "1"


def test_a_volatile_snapshot_is_mounted_again_and_again(root, start):
    snapshotter = start(options=("index=off", "volatile"))
    top = layers(snapshotter, root, 1)
    snapshotter.prepare("p", top)
    point = tempfile.mkdtemp(dir=root)
    for turn in range(3):
        mount_all(snapshotter.mounts("p"), point)
        try:
            assert "volatile" in Path("/proc/self/mountinfo").read_text().split(point)[1].splitlines()[0]
            Path(point, str(turn)).write_text("")
        finally:
            unmount(point)
    with mounted(snapshotter.mounts("p")) as path:  # to look into it, without the option
        assert {"0", "1", "2"} <= set(os.listdir(path))


def test_a_volatile_snapshot_that_the_machine_went_down_with_is_refused_with_what_to_do(root, start, monkeypatch):
    snapshotter = start(options=("index=off", "volatile"))
    top = layers(snapshotter, root, 1)
    point = tempfile.mkdtemp(dir=root)
    mount_all(snapshotter.prepare("p", top), point)
    unmount(point)
    monkeypatch.setattr(volatile, "_boot_time", lambda: os.stat(root).st_ctime + 1000)
    with pytest.raises(
        FailedPrecondition, match=r"files may be torn \(remove the snapshot, or take it as it is: rm -r "
    ):
        snapshotter.mounts("p")
    snapshotter.remove("p")


def test_owners_are_mapped_where_the_labels_say_so(root, start):
    snapshotter = start(remap=True)
    top = layers(snapshotter, root, 3)
    mounts = snapshotter.prepare("p", top, MAPPED)
    assert mounts[0].options[:2] == ("uidmap=0:100000:65536", "gidmap=0:200000:65536")
    with mounted(mounts) as path:
        for name in ("", "1", "3"):
            found = os.stat(f"{path}/{name}")
            assert (found.st_uid, found.st_gid) == (100000, 200000)
    assert os.stat(f"{root}/snapshots/1/fs/1").st_uid == 0
    with mounted(snapshotter.view("v", "c1", MAPPED)) as path:
        assert os.stat(f"{path}/1").st_uid == 100000
    empty = snapshotter.prepare("empty", "", MAPPED)
    assert os.stat(empty[0].source).st_uid == 100000


def test_without_mapped_mounts_only_the_snapshots_own_directory_gets_the_mapped_owner(root, start):
    snapshotter = start(remap=False)
    top = layers(snapshotter, root, 1)
    mounts = snapshotter.prepare("p", top, MAPPED)
    assert not any("map=" in option for option in mounts[0].options)
    assert os.stat(f"{root}/snapshots/2/fs").st_uid == 100000


@pytest.mark.parametrize("uids", ["", "nonsense", "1:100000:65536"])
def test_a_mapping_that_is_none_leaves_no_snapshot(root, start, uids):
    snapshotter = start(remap=True)
    with pytest.raises(InvalidArgument):
        snapshotter.prepare("p", "", {**MAPPED, owners.UIDS: uids})
    assert list(snapshotter.walk()) == []
    assert os.listdir(f"{root}/snapshots") == []


def test_the_upper_directory_is_shown_as_a_label_where_wanted(root, start):
    snapshotter = start(upperdir_label=True)
    snapshotter.prepare("p", "", {"a": "b"})
    wanted = {"a": "b", UPPERDIR_LABEL: f"{root}/snapshots/1/fs"}
    assert dict(snapshotter.stat("p").labels) == wanted
    assert [dict(info.labels) for info in snapshotter.walk()] == [wanted]
    assert snapshotter.update("p", {"a": "c"}).labels[UPPERDIR_LABEL] == wanted[UPPERDIR_LABEL]
    assert UPPERDIR_LABEL not in start().stat("p").labels


@pytest.mark.parametrize("sync", [True, False])
def test_files_are_deleted_before_a_removal_returns_or_by_the_cleanup_at_the_latest(root, start, monkeypatch, sync):
    snapshotter = start(sync_remove=sync)
    snapshotter.prepare("p")
    if not sync:
        monkeypatch.setattr(threading.Thread, "start", lambda _: None)  # the deleter does not get to run
    snapshotter.remove("p")
    assert os.listdir(f"{root}/snapshots") == ([] if sync else ["rm.1"])
    snapshotter.cleanup()
    assert os.listdir(f"{root}/snapshots") == []


def test_options_that_the_kernel_does_not_take_are_named(root):
    with pytest.raises(Skip, match=r"but not with its mount_options metacopy=perhaps: .*change mount_options"):
        probe.check(root, ["metacopy=perhaps"])


def test_a_file_system_that_cannot_be_an_upper_layer_is_skipped_with_what_would_help(root):
    for name in ("l", "u", "w"):
        os.mkdir(f"{root}/{name}")
    options = (f"lowerdir={root}/l", f"upperdir={root}/u", f"workdir={root}/w")
    with (
        mounted([Mount("overlay", "overlay", options=options)]) as path,
        pytest.raises(Skip, match=r"does not work on .*root_path may be on another one"),
    ):
        probe.check(path)


def test_active_snapshots_that_a_power_cut_took_the_files_of_begin_anew(root, start):
    snapshotter = start()
    top = layers(snapshotter, root, 2)
    snapshotter.prepare("lost", top, {"kept": "yes"})
    snapshotter.prepare("whole", top)
    Path(root, "snapshots/4/fs/written").touch()
    snapshotter.close()
    remove_tree(f"{root}/snapshots/3")
    remove_tree(f"{root}/snapshots/2")  # committed: only an unpack can make that anew

    again = start()
    assert again.stat("lost").labels == {"kept": "yes"}
    assert not Path(root, "snapshots/3").exists()  # for what it was on is gone
    assert Path(root, "snapshots/4/fs/written").exists()
    assert not Path(root, "snapshots/2").exists()


def test_the_files_of_an_active_snapshot_come_back_with_the_owner_of_the_layer_below(root, start):
    snapshotter = start()
    snapshotter.prepare("base")
    os.chown(f"{root}/snapshots/1/fs", 7, 8)
    snapshotter.commit("layer", "base")
    snapshotter.prepare("lost", "layer", {"kept": "yes"})
    snapshotter.close()
    remove_tree(f"{root}/snapshots/2")

    again = start()
    assert sorted(os.listdir(f"{root}/snapshots/2")) == ["fs", "work"]
    found = os.stat(f"{root}/snapshots/2/fs")
    assert (found.st_uid, found.st_gid) == (7, 8)
    assert again.stat("lost").labels == {"kept": "yes"}
    with mounted(again.mounts("lost")) as path:
        Path(path, "new").touch()


_ROOTLESS = """
import os, sys
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.sys import idmap
from pycontainerd.sys.mount import mounted
from pycontainerd.sys.userns import in_user_namespace
from pycontainerd_snapshotter_overlay import plugin, probe
from pycontainerd_snapshotter_overlay.snapshotter import OverlaySnapshotter

root = sys.argv[1]
assert in_user_namespace()
options = plugin._options([])
probe.check(root, options)
assert not idmap.supported(root)
database = SqliteDatabase(root + "/metadata.db", print, sync=False)
snapshotter = OverlaySnapshotter(root, RecordStore(database).records("overlayfs"), options=options, sync_remove=True)
with mounted(snapshotter.prepare("a"), root) as path:
    os.makedirs(path + "/d/old")
snapshotter.commit("c", "a")
with mounted(snapshotter.prepare("b", "c"), root) as path:
    os.rmdir(path + "/d/old")
    os.rmdir(path + "/d")
    os.mkdir(path + "/d")
snapshotter.commit("e", "b")
with mounted(snapshotter.view("v", "e"), root) as path:
    assert os.listdir(path + "/d") == []
opaque = os.getxattr(root + "/snapshots/2/fs/d", "user.overlay.opaque")
print(",".join(options), opaque.decode())
database.close()
"""


def test_in_a_user_namespace_the_marks_are_in_attributes_that_users_may_set(root):
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", _ROOTLESS, root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "userxattr,index=off y\n"


def test_a_snapshot_that_a_power_cut_left_in_parts_is_made_whole(root, start):
    snapshotter = start()
    snapshotter.prepare("parts")
    snapshotter.prepare("whole")
    Path(root, "snapshots/2/fs/written").touch()
    snapshotter.close()
    os.rename(f"{root}/snapshots/1", f"{root}/snapshots/new.1")
    os.rename(f"{root}/snapshots/2", f"{root}/snapshots/new.2")
    os.rmdir(f"{root}/snapshots/new.1/fs")

    again = start()
    for key in ("parts", "whole"):
        with mounted(again.mounts(key)) as path:
            Path(path, "new").touch()
    assert Path(root, "snapshots/2/fs/written").exists()


def test_what_a_daemon_left_that_was_killed_while_it_looked_is_taken_down(root):
    left = Path(root, "probe-killed")
    for name in ("one", "two", "upper", "work", "containerd-mount-left"):
        (left / name).mkdir(parents=True)
    options = tuple(f"{kind}={left}/{name}" for kind, name in (("upperdir", "upper"), ("workdir", "work")))
    mount_all(
        [Mount("overlay", "overlay", options=(f"lowerdir={left}/one:{left}/two", *options))],
        f"{left}/containerd-mount-left",
    )
    probe.check(root)
    assert os.listdir(root) == []
