"""What every snapshotter must do (`contracts.snapshots.Snapshotter`), as a class of tests. Needs root: mounts are real.

A back end's author writes a subclass whose fixture ``snapshotter`` gives a fresh, empty one::

    class TestMine(SnapshotterSuite):
        @pytest.fixture
        def snapshotter(self, tmp_path):
            yield MySnapshotter(str(tmp_path))
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, FailedPrecondition, InvalidArgument, NotFound
from pycontainerd.contracts.snapshots import BulkRemoving, Kind, Snapshotter

from .snapshotters_files import SnapshotFiles

LABELS = {"containerd.io/gc.root": "yes", "containerd.io/snapshot/test": "1"}


class SnapshotterSuite(SnapshotFiles):
    """The whole suite.

    ``rebases``: whether `commit` takes a parent for a snapshot that was prepared without. ``counts_inodes``: whether
    `usage` knows them.
    """

    rebases = False
    counts_inodes = True

    def test_prepared_snapshots_are_active_until_committed(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a", "", LABELS)
        info = snapshotter.stat("a")
        assert (info.name, info.kind, info.parent, dict(info.labels)) == ("a", Kind.ACTIVE, "", LABELS)
        assert info.created_at.tzinfo is not None
        snapshotter.commit("c", "a", LABELS)
        info = snapshotter.stat("c")
        assert (info.name, info.kind, info.parent, dict(info.labels)) == ("c", Kind.COMMITTED, "", LABELS)
        with pytest.raises(NotFound):
            snapshotter.stat("a")

    def test_a_commit_has_the_labels_it_is_given_and_no_others(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a", "", {"old": "1"})
        snapshotter.commit("c", "a", {"new": "2"})
        assert dict(snapshotter.stat("c").labels) == {"new": "2"}

    def test_parents_are_named_through_the_whole_stack(self, snapshotter: Snapshotter) -> None:
        parent = ""
        for number in range(4):
            snapshotter.prepare(f"a{number}", parent)
            assert snapshotter.stat(f"a{number}").parent == parent
            snapshotter.commit(f"c{number}", f"a{number}")
            assert snapshotter.stat(f"c{number}").parent == parent
            parent = f"c{number}"

    def test_a_view_is_a_snapshot_of_its_own(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a")
        snapshotter.commit("c", "a")
        snapshotter.view("v", "c", LABELS)
        info = snapshotter.stat("v")
        assert (info.kind, info.parent, dict(info.labels)) == (Kind.VIEW, "c", LABELS)
        with pytest.raises(ContainerdError):
            snapshotter.commit("d", "v")
        snapshotter.remove("v")
        with pytest.raises(NotFound):
            snapshotter.stat("v")

    def test_mounts_are_what_prepare_and_view_gave(self, snapshotter: Snapshotter) -> None:
        assert list(snapshotter.prepare("a")) == list(snapshotter.mounts("a"))
        snapshotter.commit("c", "a")
        assert list(snapshotter.view("v", "c")) == list(snapshotter.mounts("v"))
        assert list(snapshotter.prepare("b", "c")) == list(snapshotter.mounts("b"))
        with pytest.raises(ContainerdError):
            snapshotter.mounts("c")

    @pytest.mark.parametrize("make", ["prepare", "view"])
    def test_a_key_can_be_used_once(self, snapshotter: Snapshotter, make: str) -> None:
        create: Callable[..., object] = getattr(snapshotter, make)
        snapshotter.prepare("a")
        snapshotter.commit("c", "a")
        create("k", "c")
        for taken in ("k", "c"):
            with pytest.raises(AlreadyExists):
                create(taken, "c")

    @pytest.mark.parametrize("make", ["prepare", "view"])
    def test_a_parent_must_be_committed(self, snapshotter: Snapshotter, make: str) -> None:
        create: Callable[..., object] = getattr(snapshotter, make)
        snapshotter.prepare("active")
        with pytest.raises(NotFound):
            create("k", "missing")
        with pytest.raises((FailedPrecondition, InvalidArgument)):
            create("k", "active")
        with pytest.raises(NotFound):
            snapshotter.stat("k")

    def test_what_is_not_there_cannot_be_used(self, snapshotter: Snapshotter) -> None:
        for use in (snapshotter.stat, snapshotter.mounts, snapshotter.usage, snapshotter.remove):
            with pytest.raises(NotFound):
                use("missing")
        with pytest.raises(NotFound):
            snapshotter.commit("c", "missing")
        with pytest.raises(NotFound):
            snapshotter.update("missing", {"a": "b"})

    def test_a_name_can_be_committed_once(self, snapshotter: Snapshotter) -> None:
        for key in ("a", "b"):
            snapshotter.prepare(key)
        snapshotter.commit("c", "a")
        with pytest.raises(AlreadyExists):
            snapshotter.commit("c", "b")
        assert snapshotter.stat("b").kind is Kind.ACTIVE
        with pytest.raises(ContainerdError):
            snapshotter.commit("d", "c")

    def test_what_others_are_based_on_stays(self, snapshotter: Snapshotter) -> None:
        self._stack(snapshotter)
        for name in ("bottom", "middle"):
            with pytest.raises(FailedPrecondition):
                snapshotter.remove(name)
        for name in ("v", "top", "middle", "bottom"):
            snapshotter.remove(name)
        assert list(snapshotter.walk()) == []

    def test_many_are_removed_together_or_none(self, snapshotter: Snapshotter) -> None:
        if not isinstance(snapshotter, BulkRemoving):
            return
        self._stack(snapshotter)
        with pytest.raises(FailedPrecondition):
            snapshotter.remove_many(["top", "middle"])  # "v" is on it too
        with pytest.raises(NotFound):
            snapshotter.remove_many(["top", "missing"])
        with self.mounted(snapshotter.mounts("top")) as root:
            assert os.listdir(root) == []
        snapshotter.remove_many(["v", "top", "middle", "bottom"])
        assert list(snapshotter.walk()) == []
        snapshotter.cleanup()

    def test_a_removed_key_can_be_used_again(self, snapshotter: Snapshotter) -> None:
        with self.mounted(snapshotter.prepare("a")) as root:
            open(os.path.join(root, "old"), "w").close()
        snapshotter.remove("a")
        with self.mounted(snapshotter.prepare("a")) as root:
            assert os.listdir(root) == []

    def test_walk_gives_everything_and_what_it_gives_can_be_asked_for(self, snapshotter: Snapshotter) -> None:
        self._stack(snapshotter)
        found = {info.name: info for info in snapshotter.walk()}
        assert {name: (info.kind, info.parent) for name, info in found.items()} == {
            "bottom": (Kind.COMMITTED, ""),
            "middle": (Kind.COMMITTED, "bottom"),
            "top": (Kind.ACTIVE, "middle"),
            "v": (Kind.VIEW, "middle"),
        }
        for info in snapshotter.walk():
            assert snapshotter.stat(info.name) == info

    @pytest.mark.parametrize(
        ("filters", "names"),
        [
            (["name==top"], {"top"}),
            (["kind==committed"], {"bottom", "middle"}),
            (["parent==middle"], {"top", "v"}),
            (["labels.colour==red"], {"top"}),
            (["labels.colour"], {"top", "v"}),
            (["kind==view", "name==bottom"], {"v", "bottom"}),
            (["kind==view,name==bottom"], set()),
        ],
    )
    def test_walk_takes_filters(self, snapshotter: Snapshotter, filters: list[str], names: set[str]) -> None:
        self._stack(snapshotter)
        snapshotter.update("top", {"colour": "red"})
        snapshotter.update("v", {"colour": "blue"})
        assert {info.name for info in snapshotter.walk(filters)} == names

    def test_labels_are_replaced_or_changed_one_by_one(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a", "", {"one": "1", "two": "2"})
        before = snapshotter.stat("a")
        after = snapshotter.update("a", {"one": "new", "other": "x"}, ["labels.one", "labels.two"])
        assert dict(after.labels) == {"one": "new"}
        assert after == snapshotter.stat("a")
        assert after.updated_at >= before.updated_at
        assert (after.created_at, after.kind) == (before.created_at, before.kind)
        assert dict(snapshotter.update("a", {"three": "3"}).labels) == {"three": "3"}
        assert dict(snapshotter.update("a", {"four": "4"}, ["labels"]).labels) == {"four": "4"}
        with pytest.raises(InvalidArgument):
            snapshotter.update("a", {}, ["parent"])

    def test_labels_of_views_and_committed_snapshots_change_too(self, snapshotter: Snapshotter) -> None:
        self._stack(snapshotter)
        for name in ("bottom", "v"):
            before = snapshotter.stat(name)
            assert dict(snapshotter.update(name, {"one": "1", "two": "2"}).labels) == {"one": "1", "two": "2"}
            after = snapshotter.update(name, {"two": ""}, ["labels.two"])
            assert dict(after.labels) == {"one": "1"}
            assert (after.kind, after.parent, after.created_at) == (before.kind, before.parent, before.created_at)
        with pytest.raises(InvalidArgument):
            snapshotter.prepare("bad", "", {"key": "v" * 5000})
        with pytest.raises(NotFound):
            snapshotter.stat("bad")

    def test_keys_may_have_any_characters(self, snapshotter: Snapshotter) -> None:
        keys = ["with/slashes/../and dots", "blank and\ttab", "snowman ☃", "-o", "sha256:" + "a" * 64, "k" * 200]
        for key in keys:
            with self.mounted(snapshotter.prepare(key)) as root:
                assert os.listdir(root) == []
            snapshotter.commit(key + " committed", key)
            snapshotter.view(key, key + " committed")
        assert {info.name for info in snapshotter.walk()} == {*keys, *(key + " committed" for key in keys)}

    def test_threads_do_not_get_into_each_others_way(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a")
        snapshotter.commit("base", "a")

        def work(number: int) -> None:
            for turn in range(3):
                name = f"{number}-{turn}"
                snapshotter.prepare(f"active {name}", "base")
                snapshotter.usage(f"active {name}")
                snapshotter.commit(f"committed {name}", f"active {name}")
                snapshotter.view(f"view {name}", f"committed {name}")
                list(snapshotter.walk(["kind==view"]))
                snapshotter.remove(f"view {name}")
                snapshotter.cleanup()
                snapshotter.remove(f"committed {name}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert [info.name for info in snapshotter.walk()] == ["base"]

    def test_of_those_who_want_one_key_one_gets_it(self, snapshotter: Snapshotter) -> None:
        def work(_: int) -> bool:
            try:
                snapshotter.prepare("wanted")
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(work, range(8))) == 1
        with self.mounted(snapshotter.mounts("wanted")) as root:
            assert os.listdir(root) == []

    def test_usage_is_what_a_snapshot_adds(self, snapshotter: Snapshotter) -> None:
        with self.mounted(snapshotter.prepare("a")) as root:
            empty = snapshotter.usage("a")
            with open(os.path.join(root, "file"), "wb") as file:
                file.write(os.urandom(1 << 20))
            self.flush(root)
            used = snapshotter.usage("a")
        assert used.size >= empty.size + (1 << 20)
        if self.counts_inodes:
            assert used.inodes == empty.inodes + 1
        snapshotter.commit("c", "a")
        assert snapshotter.usage("c").size >= 1 << 20
        snapshotter.view("v", "c")
        assert snapshotter.usage("v").size < 1 << 20

    def test_a_parent_given_at_the_commit(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a")
        snapshotter.commit("bottom", "a")
        snapshotter.prepare("b")
        if not self.rebases:
            with pytest.raises(ContainerdError):
                snapshotter.commit("top", "b", parent="bottom")
            assert snapshotter.stat("b").kind is Kind.ACTIVE
            return
        snapshotter.commit("top", "b", parent="bottom")
        assert snapshotter.stat("top").parent == "bottom"
        snapshotter.prepare("c", "top")
        with pytest.raises(InvalidArgument):
            snapshotter.commit("d", "c", parent="bottom")

    def test_cleanup_takes_nothing_that_is_in_use(self, snapshotter: Snapshotter) -> None:
        with self.mounted(snapshotter.prepare("a")) as root:
            open(os.path.join(root, "file"), "w").close()
        snapshotter.prepare("gone")
        snapshotter.remove("gone")
        snapshotter.cleanup()
        with self.mounted(snapshotter.mounts("a")) as root:
            assert os.listdir(root) == ["file"]

    def test_closing_twice_is_fine(self, snapshotter: Snapshotter) -> None:
        snapshotter.close()
        snapshotter.close()

    @staticmethod
    def _stack(snapshotter: Snapshotter) -> None:
        snapshotter.prepare("a")
        snapshotter.commit("bottom", "a")
        snapshotter.prepare("a", "bottom")
        snapshotter.commit("middle", "a")
        snapshotter.prepare("top", "middle")
        snapshotter.view("v", "middle")
