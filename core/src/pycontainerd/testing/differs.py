"""What every differ must do (`contracts.diff.Differ`), as a class of tests. Needs root: owners and mounts are real.

An author writes a subclass with the fixture ``differ``, and says what layers it takes::

    class TestMine(DifferSuite):
        media_type = "application/vnd.example.layer.v1.tar+xz"

        @pytest.fixture
        def differ(self, area):
            return MyDiffer()

        @staticmethod
        def packed(tar):
            return lzma.compress(tar)
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pycontainerd.contracts import digests, media_types
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.diff import Differ
from pycontainerd.contracts.errors import AlreadyExists, ContainerdError, DataLoss, NotFound, NotImplemented
from pycontainerd.contracts.types import Descriptor, Mount
from pycontainerd.sys.mount import mounts_under, remove_tree

from . import needs
from .images import tar_of
from .rootfs import Node, directory, symlink
from .stores import content, database

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
OUTSIDE = "outside"
Entry = tuple[int, int, int, int, str]


def tree(root: str) -> dict[str, Entry]:
    """Everything below ``root``: kind and mode, owner, group, and what a file holds or a link says."""
    found: dict[str, Entry] = {}
    for where, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(where, name)
            entry = os.lstat(path)
            content = ""
            if stat.S_ISLNK(entry.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(entry.st_mode):
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    content = file.read()
            found[os.path.relpath(path, root)] = (entry.st_mode, entry.st_uid, entry.st_gid, entry.st_nlink, content)
    # How many entries a directory has is in its link count on some file systems.
    return {name: (*one[:3], 0 if stat.S_ISDIR(one[0]) else one[3], one[4]) for name, one in found.items()}


class DifferSuite:
    """The whole suite.

    ``media_type``: a layer it applies; `packed` makes one of a tar. ``compares``: whether it makes layers as well.
    """

    media_type = media_types.OCI_LAYER
    compares = True

    @staticmethod
    def packed(tar: bytes) -> bytes:
        """A layer of ``media_type`` of a plain tar."""
        return tar

    @pytest.fixture
    def area(self) -> Iterator[str]:
        """A directory for the test; no mount may be left in it."""
        needs.root()
        path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
        yield path
        assert list(mounts_under(path)) == []
        remove_tree(path)

    @pytest.fixture
    def store(self, area: str) -> Iterator[ContentStore]:
        """Where layers are: the content of a namespace, as the daemon gives it to a differ."""
        with database(area) as opened:
            yield content(area, opened)

    @pytest.fixture
    def root(self, area: str) -> str:
        """An empty directory to apply to, with a file beside it that nothing may touch."""
        os.mkdir(f"{area}/root")
        with open(f"{area}/{OUTSIDE}", "w", encoding="utf-8") as file:
            file.write("untouched")
        return f"{area}/root"

    def put(self, store: ContentStore, data: bytes, media_type: str = "") -> Descriptor:
        """Store ``data`` as a layer."""
        try:
            writer = store.writer("layer", total=len(data))
            writer.write(data)
            writer.commit(len(data), digests.of(data))
        except AlreadyExists:
            pass
        return Descriptor(media_type or self.media_type, digests.of(data), len(data))

    def apply(self, differ: Differ, store: ContentStore, root: str, *nodes: Node) -> Descriptor:
        return differ.apply(store, self.put(store, self.packed(tar_of(nodes))), bound(root))

    def test_a_layer_is_applied_with_modes_owners_and_links(
        self, differ: Differ, store: ContentStore, root: str
    ) -> None:
        self.apply(
            differ,
            store,
            root,
            Node("d", mode=0o1777, kind="directory", uid=5, gid=6),
            Node("d/file", b"data", mode=0o4755, uid=1, gid=2),
            Node("d/hard", link="d/file", kind="hardlink"),
            symlink("link", "/nowhere"),
            Node("pipe", mode=0o600, kind="fifo"),
        )
        found = tree(root)
        assert found["d"][:3] == (stat.S_IFDIR | 0o1777, 5, 6)
        assert found["d/file"] == (stat.S_IFREG | 0o4755, 1, 2, 2, "data")
        assert found["d/hard"] == found["d/file"]
        assert found["link"][4] == "/nowhere"
        assert stat.S_ISFIFO(found["pipe"][0])
        assert len(found) == 5

    def test_it_answers_with_the_plain_tar(self, differ: Differ, store: ContentStore, root: str) -> None:
        tar = tar_of([Node("file", b"x" * 100_000)])
        answer = differ.apply(store, self.put(store, self.packed(tar)), bound(root), sync=False)
        assert (answer.digest, answer.size) == (digests.of(tar), len(tar))

    def test_a_layer_goes_over_those_below(self, differ: Differ, store: ContentStore, root: str) -> None:
        self.apply(differ, store, root, directory("d"), Node("d/old", b"1"), Node("d/kept", b"1"), Node("f", b"1"))
        self.apply(differ, store, root, Node("d/old", b"22"), directory("f"), Node("f/inside", b"3"))
        found = tree(root)
        assert [found[name][4] for name in ("d/old", "d/kept", "f/inside")] == ["22", "1", "3"]

    def test_whiteouts_remove_what_is_below(self, differ: Differ, store: ContentStore, root: str) -> None:
        self.apply(
            differ, store, root, directory("d"), Node("d/a"), Node("d/b"), directory("o"), Node("o/old"), Node("top")
        )
        self.apply(
            differ,
            store,
            root,
            Node("d/.wh.a"),
            Node(".wh.top"),
            Node("d/.wh.never"),
            Node("o/.wh..wh..opq"),
            Node("o/new"),
        )
        assert set(tree(root)) == {"d", "d/b", "o", "o/new"}

    @pytest.mark.parametrize(
        "nodes",
        [
            [Node("../outside", b"bad")],
            [Node("/../outside", b"bad")],
            [Node("a/../../outside", b"bad")],
            [symlink("up", ".."), Node("up/outside", b"bad")],
            [symlink("up", "../outside"), Node("up", b"bad")],
            [symlink("away", "/tmp"), Node("away/pyc-differ-suite", b"bad")],
            [Node("hard", link="../outside", kind="hardlink"), Node("hard", b"bad")],
            [symlink("up", ".."), Node("up/.wh.outside")],
            [Node(".wh..", b"")],
        ],
    )
    def test_nothing_outside_of_the_root_is_touched(
        self, differ: Differ, store: ContentStore, area: str, root: str, nodes: list[Node]
    ) -> None:
        layer = self.put(store, self.packed(tar_of(nodes)))
        before = set(os.listdir(area))
        try:
            differ.apply(store, layer, bound(root))
        except ContainerdError:
            pass  # to refuse is as good as to stay inside
        with open(f"{area}/{OUTSIDE}", encoding="utf-8") as file:
            assert file.read() == "untouched"
        assert set(os.listdir(area)) == before
        assert not os.path.exists("/tmp/pyc-differ-suite")

    def test_a_media_type_that_it_does_not_know_is_not_implemented(
        self, differ: Differ, store: ContentStore, root: str
    ) -> None:
        layer = self.put(store, self.packed(tar_of([Node("file")])), "application/vnd.example.unheard.of")
        with pytest.raises(NotImplemented):
            differ.apply(store, layer, bound(root))
        assert tree(root) == {}

    def test_a_layer_that_is_not_there_is_not_found(self, differ: Differ, store: ContentStore, root: str) -> None:
        with pytest.raises(NotFound):
            differ.apply(store, Descriptor(self.media_type, "sha256:" + "0" * 64, 10), bound(root))

    def test_a_layer_that_is_cut_off_is_data_loss(self, differ: Differ, store: ContentStore, root: str) -> None:
        data = self.packed(tar_of([Node("file", os.urandom(50_000))]))
        with pytest.raises(DataLoss):
            differ.apply(store, self.put(store, data[: len(data) // 2]), bound(root))

    def test_what_compare_makes_turns_the_lower_into_the_upper(
        self, differ: Differ, store: ContentStore, area: str
    ) -> None:
        self._compares()
        lower, upper, again = (f"{area}/{name}" for name in ("lower", "upper", "again"))
        for path in (lower, upper, again):
            os.mkdir(path)
        base = [
            directory("d"),
            Node("d/gone"),
            Node("d/kept", b"same"),
            Node("f", b"old"),
            directory("full"),
            Node("full/x"),
        ]
        for path in (lower, upper, again):
            self.apply(differ, store, path, *base)
        self.apply(
            differ, store, upper,
            Node("d/.wh.gone"), Node(".wh.full"), Node("f", b"new", mode=0o755, uid=7), symlink("link", "f"), Node("more"),
        )  # fmt: skip
        layer = differ.compare(store, bound(lower), bound(upper), labels={"a": "b"})
        info = store.info(layer.digest)
        assert (info.size, info.labels["a"]) == (layer.size, "b")
        differ.apply(store, layer, bound(again))
        assert tree(again) == tree(upper)

    def test_compare_says_what_the_plain_tar_is(self, differ: Differ, store: ContentStore, area: str) -> None:
        self._compares()
        lower, upper, again = (f"{area}/{name}" for name in ("lower", "upper", "again"))
        for path in (lower, upper, again):
            os.mkdir(path)
        self.apply(differ, store, upper, Node("file", b"x"))
        layer = differ.compare(store, bound(lower), bound(upper))
        applied = differ.apply(store, layer, bound(again))
        assert store.info(layer.digest).labels["containerd.io/uncompressed"] == applied.digest

    def test_the_same_files_make_the_same_layer_at_an_epoch(
        self, differ: Differ, store: ContentStore, area: str
    ) -> None:
        self._compares()
        made = []
        os.mkdir(f"{area}/lower")
        for name in ("one", "two"):
            os.mkdir(f"{area}/{name}")
            self.apply(differ, store, f"{area}/{name}", directory("d"), Node("d/file", b"x"), Node("other", b"y"))
            made.append(differ.compare(store, bound(f"{area}/lower"), bound(f"{area}/{name}"), epoch=EPOCH))
        assert made[0] == made[1]

    def test_a_comparison_that_fails_leaves_no_ingest(self, differ: Differ, store: ContentStore, area: str) -> None:
        self._compares()
        missing = [Mount("bind", f"{area}/missing", options=("rbind", "ro"))]
        with pytest.raises(ContainerdError):
            differ.compare(store, missing, missing)
        assert list(store.statuses()) == []

    def _compares(self) -> None:
        if not self.compares:
            pytest.skip("this differ makes no layers, and says so")


def bound(path: str) -> list[Mount]:
    """A directory as the mounts of a snapshot."""
    return [Mount("bind", path, options=("rbind", "rw"))]
