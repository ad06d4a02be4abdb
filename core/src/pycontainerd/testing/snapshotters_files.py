"""What is in a snapshot once it is mounted: the part of `snapshotters.SnapshotterSuite` that looks at files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import pytest

from pycontainerd.contracts.snapshots import Snapshotter
from pycontainerd.contracts.types import Mount
from pycontainerd.sys.libc import syncfs
from pycontainerd.sys.mount import mounted

Change = Callable[[str], None]


def write(root: str, name: str, text: str) -> None:
    """Write ``text`` to ``name`` below ``root``, with the directories above it."""
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _writing(files: Mapping[str, str]) -> Change:
    def change(root: str) -> None:
        for name, text in files.items():
            write(root, name, text)

    return change


def tree(root: str) -> dict[str, str]:
    """Every path below ``root`` with what it is: "/" for a directory, else the text of the file."""
    found: dict[str, str] = {}
    for where, directories, files in os.walk(root):
        base = os.path.relpath(where, root)
        found |= {os.path.normpath(os.path.join(base, name)): "/" for name in directories}
        for name in files:
            with open(os.path.join(where, name), encoding="utf-8") as file:
                found[os.path.normpath(os.path.join(base, name))] = file.read()
    return found


class SnapshotFiles:
    """Each test builds a stack of layers and looks at what a snapshot on top of it shows."""

    pytestmark = pytest.mark.root

    @pytest.fixture
    def snapshotter(self) -> Snapshotter:
        """A fresh snapshotter with nothing in it, to be given by the subclass."""
        raise NotImplementedError("a subclass gives the fixture «snapshotter»")

    def mounted(self, mounts: Sequence[Mount]) -> AbstractContextManager[str]:
        """Mount them for the time of a ``with``, which gets the path. For a subclass whose mounts need help from outside."""
        return mounted(mounts)

    def flush(self, root: str) -> None:
        """Have what was written below the mount point ``root`` on the disk, where `usage` sees it."""
        fd = os.open(root, os.O_RDONLY)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    def _layers(self, snapshotter: Snapshotter, *changes: Change) -> str:
        parent = ""
        for number, change in enumerate(changes):
            with self.mounted(snapshotter.prepare(f"active-{number}", parent)) as root:
                change(root)
            snapshotter.commit(f"layer-{number}", f"active-{number}")
            parent = f"layer-{number}"
        return parent

    def _shown(self, snapshotter: Snapshotter, top: str) -> dict[str, str]:
        with self.mounted(snapshotter.view("shown", top)) as root:
            found = tree(root)
        with self.mounted(snapshotter.prepare("shown-active", top)) as root:
            assert tree(root) == found
        return found

    def test_an_empty_snapshot_has_nothing_in_it(self, snapshotter: Snapshotter) -> None:
        with self.mounted(snapshotter.prepare("a")) as root:
            assert os.listdir(root) == []

    def test_changes_stay_in_the_snapshot_that_made_them(self, snapshotter: Snapshotter) -> None:
        top = self._layers(snapshotter, lambda root: write(root, "f", "lower"))
        for key in ("one", "two"):
            with self.mounted(snapshotter.prepare(key, top)) as root:
                assert tree(root) == {"f": "lower"}
                write(root, "f", key)
        with self.mounted(snapshotter.mounts("one")) as root:
            assert tree(root) == {"f": "one"}
        assert self._shown(snapshotter, top) == {"f": "lower"}

    def test_a_file_changed_in_a_higher_layer_is_the_changed_one(self, snapshotter: Snapshotter) -> None:
        top = self._layers(
            snapshotter,
            _writing({"d/f": "1", "d/g": "1"}),
            lambda root: write(root, "d/f", "2"),
            lambda root: write(root, "d/g", "3"),
        )
        assert self._shown(snapshotter, top) == {"d": "/", "d/f": "2", "d/g": "3"}

    def test_deleted_files_stay_deleted(self, snapshotter: Snapshotter) -> None:
        def delete(root: str) -> None:
            os.unlink(os.path.join(root, "d/f"))
            os.unlink(os.path.join(root, "g"))

        top = self._layers(snapshotter, _writing({"d/f": "1", "g": "1"}), delete)
        assert self._shown(snapshotter, top) == {"d": "/"}

    def test_a_deleted_directory_made_anew_shows_nothing_of_the_old_one(self, snapshotter: Snapshotter) -> None:
        def anew(root: str) -> None:
            shutil.rmtree(os.path.join(root, "d"))
            write(root, "d/new", "2")

        top = self._layers(snapshotter, lambda root: write(root, "d/e/old", "1"), anew)
        assert self._shown(snapshotter, top) == {"d": "/", "d/new": "2"}

    def test_a_file_can_be_moved_out_of_a_lower_layer(self, snapshotter: Snapshotter) -> None:
        def move(root: str) -> None:
            os.rename(os.path.join(root, "d/f"), os.path.join(root, "f"))

        top = self._layers(snapshotter, lambda root: write(root, "d/f", "1"), move)
        assert self._shown(snapshotter, top) == {"d": "/", "f": "1"}

    def test_a_directory_of_a_lower_layer_can_be_renamed(self, snapshotter: Snapshotter) -> None:
        def rename(root: str) -> None:
            # Some file systems answer EXDEV here, and mv copies then, as everybody does.
            shutil.move(os.path.join(root, "d"), os.path.join(root, "e"))

        top = self._layers(snapshotter, lambda root: write(root, "d/f", "1"), rename)
        assert self._shown(snapshotter, top) == {"e": "/", "e/f": "1"}

    def test_owners_and_modes_changed_on_top_are_seen(self, snapshotter: Snapshotter) -> None:
        def change(root: str) -> None:
            os.chown(os.path.join(root, "d"), 1, 2)
            os.chown(os.path.join(root, "d/f"), 3, 4)
            os.chmod(os.path.join(root, "d/f"), 0o4711)

        top = self._layers(snapshotter, lambda root: write(root, "d/f", "1"), change)
        with self.mounted(snapshotter.view("v", top)) as root:
            found = os.stat(os.path.join(root, "d"))
            assert (found.st_uid, found.st_gid) == (1, 2)
            found = os.stat(os.path.join(root, "d/f"))
            assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (3, 4, 0o4711)

    def test_owners_of_directories_hold_through_layers_that_do_not_touch_them(self, snapshotter: Snapshotter) -> None:
        def first(root: str) -> None:
            write(root, "home/one/f", "1")
            os.chown(os.path.join(root, "home/one"), 1001, 1001)
            os.symlink("one", os.path.join(root, "home/link"))
            os.lchown(os.path.join(root, "home/link"), 1002, 1003)

        def second(root: str) -> None:
            write(root, "home/two/f", "2")
            os.chown(os.path.join(root, "home/two"), 2001, 2001)
            os.chmod(os.path.join(root, "home/two"), 0o700)

        top = self._layers(snapshotter, first, second, lambda root: write(root, "home/one/g", "3"))
        with self.mounted(snapshotter.prepare("a", top)) as root:
            found = {name: os.lstat(os.path.join(root, "home", name)) for name in ("one", "two", "link")}
        assert {name: (one.st_uid, one.st_gid) for name, one in found.items()} == {
            "one": (1001, 1001),
            "two": (2001, 2001),
            "link": (1002, 1003),
        }
        assert stat.S_IMODE(found["two"].st_mode) == 0o700

    def test_owner_and_mode_of_the_root_directory_are_kept(self, snapshotter: Snapshotter) -> None:
        def change(root: str) -> None:
            os.chown(root, 5, 6)
            os.chmod(root, 0o750)

        top = self._layers(snapshotter, change, lambda root: write(root, "f", "1"))
        for mounts in (snapshotter.view("v", top), snapshotter.prepare("p", top)):
            with self.mounted(mounts) as root:
                found = os.stat(root)
                assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (5, 6, 0o750)

    def test_the_root_directory_can_be_read_by_everybody(self, snapshotter: Snapshotter) -> None:
        with self.mounted(snapshotter.prepare("a")) as root:
            assert stat.S_IMODE(os.stat(root).st_mode) == 0o755

    def test_links_attributes_and_times_are_kept(self, snapshotter: Snapshotter) -> None:
        def fill(root: str) -> None:
            write(root, "f", "1")
            os.link(os.path.join(root, "f"), os.path.join(root, "hard"))
            os.symlink("f", os.path.join(root, "soft"))
            os.mkfifo(os.path.join(root, "pipe"))
            os.setxattr(os.path.join(root, "f"), "trusted.test", b"value")
            os.utime(os.path.join(root, "f"), (1000, 2000))

        top = self._layers(snapshotter, fill, lambda root: write(root, "other", ""))
        with self.mounted(snapshotter.prepare("a", top)) as root:
            found = os.stat(os.path.join(root, "f"))
            assert (found.st_nlink, found.st_mtime) == (2, 2000)
            assert found.st_ino == os.stat(os.path.join(root, "hard")).st_ino
            assert os.readlink(os.path.join(root, "soft")) == "f"
            assert stat.S_ISFIFO(os.stat(os.path.join(root, "pipe")).st_mode)
            assert os.getxattr(os.path.join(root, "f"), "trusted.test") == b"value"

    def test_a_view_cannot_be_written_to(self, snapshotter: Snapshotter) -> None:
        top = self._layers(snapshotter, lambda root: write(root, "f", "1"), lambda root: write(root, "g", "1"))
        for number, name in enumerate(("", "layer-0", top)):
            with (
                self.mounted(snapshotter.view(f"v{number}", name)) as root,
                pytest.raises(OSError, match="Read-only"),
            ):
                write(root, "new", "2")

    def test_a_layer_in_the_middle_stays_when_what_is_on_it_goes(self, snapshotter: Snapshotter) -> None:
        top = self._layers(snapshotter, lambda root: write(root, "f", "1"), lambda root: write(root, "g", "2"))
        snapshotter.prepare("a", top)
        snapshotter.remove("a")
        snapshotter.remove(top)
        assert self._shown(snapshotter, "layer-0") == {"f": "1"}

    def test_a_stack_of_128_layers_can_be_mounted(self, snapshotter: Snapshotter) -> None:
        changes = [lambda root, number=number: write(root, f"{number}", f"{number}") for number in range(128)]
        top = self._layers(snapshotter, *changes)
        assert self._shown(snapshotter, top) == {str(number): str(number) for number in range(128)}
