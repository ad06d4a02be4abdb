"""Trees: copied whole, counted right, and deleted whatever their shape."""

from __future__ import annotations

import os
import stat

import pytest

from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.types import Mount
from pycontainerd.sys import tree
from pycontainerd.sys.libc import AT_FDCWD
from pycontainerd.sys.mount import mount_all, remove_tree, unmount
from pycontainerd.sys.snapdirs import delete_tree
from pycontainerd.sys.tree import copy_tree, disk_usage, remove_at

pytestmark = pytest.mark.root


def test_each_directory_is_listed_once(tmp_path):
    for number in range(200):
        (tmp_path / "wide" / str(number)).mkdir(parents=True)
        (tmp_path / "wide" / str(number) / "f").touch()
    listed = []
    real = os.listdir
    os.listdir = lambda *args: listed.append(args) or real(*args)
    try:
        remove_at(AT_FDCWD, str(tmp_path / "wide"))
    finally:
        os.listdir = real
    assert len(listed) == 201
    assert os.listdir(tmp_path) == []


def test_removal_does_not_follow_links_and_does_not_mind_what_is_gone(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/f").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/l").symlink_to("../kept")
    remove_tree(str(tmp_path / "tree"))
    remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path / "kept") == ["f"]


def test_a_copy_has_everything_the_original_has(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "d").mkdir(parents=True)
    target.mkdir()
    (source / "d/f").write_bytes(b"data")
    os.link(source / "d/f", source / "h")
    os.symlink("d/f", source / "s")
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(source / "holes", "wb") as file:
        file.truncate(50 << 20)
    os.setxattr(source / "d/f", "user.k", b"v")
    os.chown(source / "d/f", 3, 4)
    os.chmod(source / "d/f", 0o4711)
    os.utime(source / "d", (1, 2))
    copy_tree(str(source), str(target))
    found = os.stat(target / "d/f")
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_nlink) == (3, 4, 0o4711, 2)
    assert os.getxattr(target / "d/f", "user.k") == b"v"
    assert os.readlink(target / "s") == "d/f"
    assert os.stat(target / "null").st_rdev == os.makedev(1, 3)
    assert os.stat(target / "holes").st_size == 50 << 20
    assert os.stat(target / "holes").st_blocks < 100
    assert os.stat(target / "d").st_mtime == 2
    assert disk_usage(str(target)) == disk_usage(str(source))


def test_a_hard_linked_file_counts_once(tmp_path):
    (tmp_path / "f").write_bytes(bytes(1 << 16))
    before = disk_usage(str(tmp_path))
    os.link(tmp_path / "f", tmp_path / "g")
    assert disk_usage(str(tmp_path)) == before


@pytest.mark.parametrize("where", [".", "d", "d/deep/er"])
def test_nothing_that_is_mounted_is_deleted_through(tmp_path, where):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (inside / "d/deep/er").mkdir(parents=True)
    outside.mkdir()
    (outside / "precious").write_text("x")
    point = str(inside / where)
    mount_all([Mount("bind", str(outside), options=("bind",))], point)
    try:
        for remove in (lambda: remove_at(AT_FDCWD, str(inside)), lambda: delete_tree(str(inside))):
            with pytest.raises((OSError, ContainerdError)):
                remove()
            assert (outside / "precious").read_text() == "x"
    finally:
        unmount(point)
    delete_tree(str(inside))
    assert os.listdir(tmp_path) == ["outside"]


def test_a_mount_that_comes_in_the_last_moment_is_not_entered(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    parent = os.open(tmp_path, os.O_PATH)
    mount_all([Mount("tmpfs", "tmpfs")], str(tmp_path / "d"))
    try:
        with pytest.raises(OSError, match="NO_XDEV"):
            tree._enter(parent, b"d")
    finally:
        unmount(str(tmp_path / "d"))
        os.close(parent)
