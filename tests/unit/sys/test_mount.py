"""Mounts of every kind that snapshotters hand out. Each test leaves the mount table as it found it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, InvalidArgument, NotFound, NotImplemented
from pycontainerd.contracts.types import Mount
from pycontainerd.sys import mountapi, mountinfo, openat2, overlay
from pycontainerd.sys.mount import (
    is_mount_point,
    mount_all,
    mounted,
    mounts_under,
    remove_tree,
    unmount,
    unmount_all,
    unmount_left,
    unmount_recursive,
)
from pycontainerd.sys.mountflags import MS_BIND, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, parse_options
from pycontainerd.sys.mountopts import is_read_only, read_only, without_volatile

root = pytest.mark.root


@pytest.fixture
def area(tmp_path):
    yield tmp_path
    unmount_recursive(str(tmp_path))


def make(base, *names):
    paths = [base / name for name in names]
    for path in paths:
        path.mkdir(parents=True)
    return [str(path) for path in paths]


def test_options_are_sorted_into_flags_propagation_and_data():
    plan = parse_options(["rbind", "ro", "nosuid", "rprivate", "size=1m", "defaults", "suid"])
    assert plan.flags == MS_BIND | MS_REC | MS_RDONLY
    assert plan.propagation == MS_PRIVATE | MS_REC
    assert list(plan.data) == ["size=1m"]
    assert parse_options(["suid", "nosuid"]).flags == MS_NOSUID


def test_an_option_that_would_change_what_is_mounted_is_refused_where_unsupported():
    with pytest.raises(NotImplemented, match="loop"):
        parse_options(["loop"])


@pytest.mark.parametrize("option", ["uidmap=0:1000:10", "gidmap=0:1000:10"])
def test_users_and_groups_are_mapped_together_or_not_at_all(option):
    with pytest.raises(InvalidArgument, match="one is missing"):
        parse_options([option])
    plan = parse_options(["uidmap=0:1000:10,10:5000:1", "gidmap=0:2000:10", "ro"])
    assert (plan.uidmap, plan.gidmap, plan.data) == ("0:1000:10,10:5000:1", "0:2000:10", ())


def test_an_option_for_the_mount_manager_is_refused():
    with pytest.raises(InvalidArgument, match="mount manager"):
        parse_options(["X-containerd.mkdir.path=/x"])


def test_a_read_only_view_of_an_overlay_has_its_upper_directory_on_top_of_the_lower_ones():
    mount = Mount("overlay", "overlay", options=("workdir=/w", "upperdir=/u", "lowerdir=/a:/b", "index=off"))
    assert not is_read_only(mount)
    (view,) = read_only([mount])
    assert set(view.options) == {"lowerdir=/u:/a:/b", "index=off"}
    assert is_read_only(view)
    assert read_only([Mount("bind", "/x", options=("rbind", "rw"))])[0].options == ("rbind", "ro")
    assert without_volatile([Mount("overlay", "o", options=("volatile", "lowerdir=/a"))])[0].options == ("lowerdir=/a",)


def test_a_line_of_mountinfo_is_taken_apart():
    info = mountinfo.parse_line(
        r"36 35 98:0 /mnt1 /a\040b\134c rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue"
    )
    assert info.point == "/a b\\c"
    assert (info.id, info.parent, info.device, info.root) == (36, 35, "98:0", "/mnt1")
    assert info.propagation == "shared:1 master:2"
    assert (info.fstype, info.source, info.super_options) == ("ext3", "/dev/root", "rw,errors=continue")
    with pytest.raises(ValueError, match="not a line"):
        mountinfo.parse_line("36 35 98:0 / /")


@root
def test_a_bind_mount_is_made_read_only(area):
    source, target = make(area, "source", "target")
    mount_all([Mount("bind", source, options=("rbind", "ro"))], target)
    with pytest.raises(OSError, match="Read-only"):
        Path(f"{target}/file").touch()
    Path(f"{source}/file").touch()
    assert os.listdir(target) == ["file"]
    unmount_all(target)
    assert not is_mount_point(target)


@root
def test_mounts_below_the_mount_point_do_not_follow_links_out_of_it(area):
    source, target, inside, outside = make(area, "source", "target", "source/etc", "outside")
    os.symlink(outside, f"{source}/absolute")
    os.symlink("/etc", f"{source}/link")
    mounts = [Mount("bind", source, options=("rbind",)), Mount("tmpfs", "tmpfs", target="link", options=("size=1m",))]
    mount_all(mounts, target)
    assert is_mount_point(f"{target}/etc")
    assert not is_mount_point("/etc")
    with pytest.raises(NotFound):
        mount_all([Mount("tmpfs", "tmpfs", target="absolute")], target)
    unmount_recursive(target)
    assert not mounts_under(target)
    assert inside


@root
def test_a_failing_mount_undoes_the_ones_before_it(area):
    source, target = make(area, "source", "target")
    with pytest.raises(ContainerdError, match="nosuchfs"):
        mount_all([Mount("bind", source, options=("rbind",)), Mount("nosuchfs", "none")], target)
    assert not mounts_under(target)


@root
def test_a_missing_source_is_not_found_and_named(area):
    (target,) = make(area, "target")
    with pytest.raises(NotFound, match="missing"):
        mount_all([Mount("bind", str(area / "missing"), options=("bind",))], target)


@root
def test_a_mount_point_with_a_space_and_a_newline_is_found(area):
    source, target = make(area, "source", "a b\nc\\d")
    mount_all([Mount("bind", source, options=("bind",))], target)
    assert [info.point for info in mounts_under(str(area))] == [target]
    unmount_recursive(str(area))


@root
def test_stacked_mounts_are_all_unmounted_and_nothing_mounted_is_fine(area):
    source, target = make(area, "source", "target")
    for _ in range(3):
        mount_all([Mount("bind", source, options=("bind",))], target)
    assert len(mounts_under(target)) == 3
    unmount_all(target)
    assert not mounts_under(target)
    unmount_all(target)
    assert unmount(str(area / "missing")) is False


def layers(area, count, name="a-layer-with-a-rather-long-name-so-that-a-page-is-soon-full"):
    paths = make(area, *(f"{name}/{number}" for number in range(count)))
    for number, path in enumerate(paths):
        Path(f"{path}/file{number}").touch()
    upper, work = make(area, "upper", "work")
    return paths, Mount(
        "overlay", "overlay", options=(f"workdir={work}", f"upperdir={upper}", "lowerdir=" + ":".join(paths))
    )


@root
@pytest.mark.parametrize("count", [1, 120])
def test_an_overlay_mounts_whatever_its_number_of_layers(area, count):
    _, mount = layers(area, count)
    (target,) = make(area, "target")
    mount_all([mount], target)
    assert len(os.listdir(target)) == count
    unmount_all(target)


@root
def test_a_long_overlay_mounts_without_the_new_mount_api_too(area, monkeypatch):
    def missing(_fstype):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(mountapi, "fsopen", missing)
    _, mount = layers(area, 120)
    (target,) = make(area, "target")
    before = os.getcwd()
    mount_all([mount], target)
    assert os.getcwd() == before
    assert len(os.listdir(target)) == 120
    unmount_all(target)


@root
def test_a_layer_path_too_long_for_the_new_api_is_mounted_from_the_common_directory(area):
    _, mount = layers(area, 60, name="/".join(["x" * 100] * 3))
    (target,) = make(area, "target")
    mount_all([mount], target)
    assert len(os.listdir(target)) == 60
    unmount_all(target)


def test_layers_are_split_at_colons_that_are_not_escaped():
    assert overlay.split_layers(r"/a:/b\:c:/d\\e") == ["/a", "/b:c", r"/d\e"]


@root
def test_a_temporary_mount_is_gone_after_the_block_and_so_is_its_directory(area):
    _, mount = layers(area, 2)
    with mounted([mount], directory=str(area)) as path:
        Path(f"{path}/written").touch()
        assert is_mount_point(path)
    assert not os.path.exists(path)
    assert os.path.exists(area / "upper/written")
    with mounted([mount], read_only_view=True, directory=str(area)) as path:
        assert "written" in os.listdir(path)
        with pytest.raises(OSError, match="Read-only"):
            Path(f"{path}/more").touch()


@root
def test_no_directory_is_left_when_a_temporary_mount_fails(area):
    with pytest.raises(ContainerdError), mounted([Mount("nosuchfs", "none")], directory=str(area)):
        pass
    assert os.listdir(area) == []


def test_openat2_keeps_every_path_in_the_root(tmp_path):
    if not openat2.supported():
        pytest.skip("no openat2")
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("inside")
    (tmp_path / "root/link").symlink_to("/etc")
    (tmp_path / "root/up").symlink_to("../../../../etc")
    fd = os.open(tmp_path / "root", os.O_PATH)
    try:
        for path in ("link/passwd", "up/passwd", "../../etc/passwd", "/etc/passwd"):
            with open(openat2.openat2(fd, path, os.O_RDONLY), encoding="utf-8") as file:
                assert file.read() == "inside"
        with pytest.raises(OSError, match="BENEATH"):
            openat2.openat2(fd, "link/passwd", os.O_RDONLY, resolve=openat2.BENEATH)
        with pytest.raises(OSError, match="NO_SYMLINKS"):
            openat2.openat2(fd, "link/passwd", os.O_RDONLY, resolve=openat2.IN_ROOT | openat2.NO_SYMLINKS)
        with pytest.raises(FileNotFoundError):
            openat2.openat2(fd, "missing", os.O_RDONLY)
        with pytest.raises(ValueError, match="NUL"):
            openat2.openat2(fd, "a\0b", os.O_RDONLY)
    finally:
        os.close(fd)


@root
def test_a_detached_copy_of_a_tree_is_attached_read_only(area):
    source, target = make(area, "source", "target")
    fd = mountapi.open_tree(source)
    try:
        mountapi.mount_setattr(fd, set=mountapi.MOUNT_ATTR_RDONLY)
        mountapi.move_mount(fd, target)
    finally:
        os.close(fd)
    with pytest.raises(OSError, match="Read-only"):
        Path(f"{target}/file").touch()
    unmount_all(target)


@root
def test_a_busy_mount_fails_with_its_name_and_can_be_detached(area, monkeypatch):
    monkeypatch.setattr("pycontainerd.sys.mountcalls._BUSY_PAUSE", 0)
    (target,) = make(area, "target")
    mount_all([Mount("tmpfs", "tmpfs", options=("size=1m",))], target)
    handle = os.open(target, os.O_RDONLY)
    with pytest.raises(ContainerdError, match="target"):
        unmount(target)
    os.close(handle)
    unmount_all(target)


@root
def test_a_tree_with_a_mount_in_it_is_not_removed(area):
    source, target = make(area, "source", "tree/target")
    Path(f"{source}/precious").touch()
    mount_all([Mount("bind", source, options=("bind",))], target)
    with pytest.raises(FailedPrecondition, match="target"):
        remove_tree(str(area / "tree"))
    unmount_all(target)
    remove_tree(str(area / "tree"))
    assert os.listdir(area) == ["source"]
    assert os.listdir(source) == ["precious"]
    remove_tree(str(area / "tree"))


def test_a_tree_deeper_than_any_path_or_recursion_is_removed_and_links_in_it_are_not_followed(tmp_path):
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/file").touch()
    start = fd = os.open(tmp_path, os.O_RDONLY)
    for depth in range(3000):
        os.mkdir("deep", dir_fd=fd)
        child = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.symlink(tmp_path / "keep", f"link{depth % 3}", dir_fd=child)
        if fd != start:
            os.close(fd)
        fd = child
    os.close(fd)
    os.close(start)
    remove_tree(str(tmp_path / "deep"))
    assert os.listdir(tmp_path) == ["keep"]
    assert os.listdir(tmp_path / "keep") == ["file"]


@root
def test_what_a_killed_process_left_mounted_is_taken_down_and_nothing_else(area):
    left = area / "containerd-mount-of-a-crash"
    other = area / "something-else"
    for path in (left, other):
        path.mkdir()
        mount_all([Mount(type="tmpfs", source="tmpfs", options=())], str(path))
        (path / "data").write_text("x")
    assert unmount_left(str(area)) == [str(left)]
    assert not left.exists()
    assert (other / "data").read_text() == "x"
    unmount_recursive(str(other))
    with_data = area / "containerd-mount-not-empty"
    with_data.mkdir()
    (with_data / "kept").write_text("x")
    unmount_left(str(area))
    assert (with_data / "kept").read_text() == "x"
