"""Applying layers, kind and hostile: whatever a layer holds, nothing outside the root is touched."""

from __future__ import annotations

import io
import os
import stat
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.errors import ContainerdError, DataLoss, InvalidArgument
from pycontainerd.diff.apply import apply
from pycontainerd.diff.limits import Limits

pytestmark = pytest.mark.root

DIR, LINK, SYM, CHR, FIFO = tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(data)
    info.mode = 0o755 if kind == DIR else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def layer(*entries) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    path.mkdir()
    (tmp_path / "outside").write_text("untouched")
    yield path
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert (tmp_path / "outside").read_text() == "untouched"


def put(root, *entries, **options):
    apply(str(root), [layer(*entries)], **options)


def tree(root) -> set[str]:
    return {
        os.path.relpath(os.path.join(where, name), root)
        for where, directories, files in os.walk(root)
        for name in (*directories, *files)
    }


def test_files_directories_links_and_nodes_have_what_the_layer_says(root):
    put(
        root,
        entry("d", kind=DIR, mode=0o1777, uid=5, gid=6, mtime=1000),
        entry("d/f", b"data", mode=0o4755, uid=1, gid=2, mtime=2000, pax_headers={"SCHILY.xattr.user.k": "v"}),
        entry("d/h", kind=LINK, target="d/f"),
        entry("d/s", kind=SYM, target="/nowhere", mtime=3000),
        entry("d/p", kind=FIFO),
        entry("d/null", kind=CHR, devmajor=1, devminor=3, mode=0o666),
    )
    found = os.stat(root / "d")
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime) == (0o1777, 5, 6, 1000)
    found = os.stat(root / "d/f")
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime) == (0o4755, 1, 2, 2000)
    assert os.getxattr(root / "d/f", "user.k") == b"v"
    assert os.stat(root / "d/h").st_ino == found.st_ino
    assert os.readlink(root / "d/s") == "/nowhere"
    assert os.lstat(root / "d/s").st_mtime == 3000
    assert stat.S_ISFIFO(os.stat(root / "d/p").st_mode)
    assert os.stat(root / "d/null").st_rdev == os.makedev(1, 3)


def test_device_nodes_are_left_out_where_they_cannot_be_made(root):
    put(root, entry("null", kind=CHR, devmajor=1, devminor=3), entry("p", kind=FIFO), skip_devices=True)
    assert tree(root) == {"p"}


@pytest.mark.parametrize("name", ["../outside", "/../../outside", "a/../../outside", "./../outside"])
def test_names_with_dots_and_absolute_names_stay_inside(root, name):
    put(root, entry(name, b"x"))
    assert "outside" in tree(root)


@pytest.mark.parametrize("target", ["..", "../..", "/..", "/proc/self/cwd/..", "../outside"])
def test_symlinks_lead_nowhere_outside(root, target):
    try:
        put(root, entry("l", kind=SYM, target=target), entry("l/outside", b"x"))
    except InvalidArgument:
        pass


def test_an_absolute_symlink_is_followed_inside_the_root(root):
    put(root, entry("usr/lib", kind=DIR), entry("lib", kind=SYM, target="/usr/lib"), entry("lib/a", b"x"))
    assert (root / "usr/lib/a").read_bytes() == b"x"


def test_a_link_to_a_missing_directory_gets_the_directory(root):
    put(root, entry("var/run", kind=SYM, target="/run/now"), entry("var/run/a", b"x"))
    assert (root / "run/now/a").read_bytes() == b"x"


def test_links_in_a_circle_are_an_error(root):
    with pytest.raises(InvalidArgument):
        put(root, entry("a", kind=SYM, target="b"), entry("b", kind=SYM, target="a"), entry("a/f", b"x"))


@pytest.mark.parametrize("target", ["../outside", "/../outside", "l/outside", "missing"])
def test_hard_links_to_what_is_outside_are_an_error(root, target):
    with pytest.raises(ContainerdError):
        put(root, entry("l", kind=SYM, target=".."), entry("h", kind=LINK, target=target))


def test_a_file_through_a_planted_link_replaces_the_link(root, tmp_path):
    put(root, entry("f", kind=SYM, target="../outside"), entry("f", b"mine"))
    assert not (root / "f").is_symlink()


def test_a_whiteout_of_what_is_not_there_changes_nothing(root):
    put(root, entry(".wh.missing"), entry("no/such/.wh.x"), entry("no/such/.wh..wh..opq"))
    assert tree(root) == set()


def test_a_whiteout_removes_trees_and_only_of_layers_below(root):
    put(root, entry("d/e/f", b"x"), entry("g", b"x"), entry("k", b"x"))
    put(root, entry("k", b"new"), entry(".wh.d"), entry(".wh.g"), entry(".wh.k"))
    assert tree(root) == {"k"}


def test_an_opaque_whiteout_hides_only_layers_below(root):
    put(root, entry("d/old", b"x"), entry("d/sub/old", b"x"), entry("e", b"x"))
    put(root, entry("d/sub/new", b"x"), entry("d/.wh..wh..opq"), entry("d/later", b"x"))
    assert tree(root) == {"d", "d/sub", "d/sub/new", "d/later", "e"}


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh..", "d/.wh..."])
def test_a_whiteout_of_a_directory_itself_or_above_is_refused(root, name):
    put(root, entry("d/f", b"x"))
    with pytest.raises(InvalidArgument, match="whiteout"):
        put(root, entry(name))
    assert "d/f" in tree(root)


def test_a_whiteout_does_not_follow_links(root):
    put(root, entry("l", kind=SYM, target=".."), entry("d/f", b"x"))
    put(root, entry(".wh.l"))
    assert tree(root) == {"d", "d/f"}


def test_a_whiteout_cannot_be_a_directory_on_the_way(root):
    with pytest.raises(InvalidArgument, match="whiteout"):
        put(root, entry("a/.wh.b/c", b"x"))


def test_marks_of_aufs_are_passed_over(root):
    put(root, entry(".wh..wh.plnk"), entry("f", b"x"))
    assert tree(root) == {"f"}


def test_marks_of_overlayfs_are_not_taken_over(root):
    put(root, entry("f", b"x", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc"}))
    assert os.listxattr(root / "f") == []


def test_kinds_replace_each_other(root):
    put(root, entry("a/b", b"x"), entry("c", b"x"), entry("s", kind=SYM, target="a"))
    put(root, entry("a", b"file"), entry("c", kind=DIR), entry("c/d", b"x"), entry("s", kind=DIR))
    assert tree(root) == {"a", "c", "c/d", "s"}
    assert (root / "a").read_bytes() == b"file"
    assert not (root / "s").is_symlink()


def test_times_of_directories_survive_what_is_put_into_them(root):
    put(root, entry("d", kind=DIR, mtime=1000), entry("d/f", b"x"), entry("./", kind=DIR, mtime=500))
    assert os.stat(root / "d").st_mtime == 1000
    assert os.stat(root).st_mtime == 500


def test_a_sparse_file_keeps_its_holes(root):
    body = b"2\n0\n4\n104857600\n3\n".ljust(512, b"\0") + b"headend"
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "104857603",
    }
    put(root, entry("x", body, pax_headers=headers))
    found = os.stat(root / "s")
    assert found.st_size == 104857603
    assert found.st_blocks * 512 < 1 << 20
    with open(root / "s", "rb") as file:
        assert file.read(4) == b"head"
        file.seek(104857600)
        assert file.read() == b"end"


def test_a_path_too_long_or_too_deep_is_refused(root):
    with pytest.raises(InvalidArgument, match="max_path"):
        put(root, entry("a" * 5000, b"x"))
    with pytest.raises(InvalidArgument, match="max_depth"):
        put(root, entry("a/" * 600 + "f", b"x"))
    with pytest.raises(InvalidArgument):
        put(root, entry("a" * 300, b"x"))


def test_a_file_as_a_directory_is_refused(root):
    with pytest.raises(InvalidArgument):
        put(root, entry("f", b"x"), entry("f/g", b"x"))


def test_a_truncated_layer_is_data_loss(root):
    with pytest.raises(DataLoss):
        apply(str(root), [layer(entry("f", b"x" * 5000))[:2000]])


def test_repeated_opaque_whiteouts_take_no_longer_with_every_repetition(root):
    """Counted in system calls of listing, not in time: the second and later ones list nothing."""
    entries = [entry(f"d/{number}", b"") for number in range(300)] + [entry("d/.wh..wh..opq")] * 500
    listed = []
    real = os.listdir
    os.listdir = lambda *args: listed.append(args) or real(*args)
    try:
        put(root, *entries)
    finally:
        os.listdir = real
    assert len(listed) == 1


parts = st.sampled_from(["a", "b", "..", ".", "", ".wh.a", ".wh..wh..opq", ".wh...", "c"])
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
hostile = st.builds(
    entry,
    paths,
    st.just(b""),
    kind=st.sampled_from([tarfile.REGTYPE, DIR, LINK, SYM, FIFO]),
    target=st.one_of(paths, st.sampled_from(["/", "../../outside", "/proc/self/root", "/proc/self/cwd"])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(hostile, max_size=12))
def test_no_mix_of_entries_touches_what_is_outside(tmp_path_factory, entries):
    area = tmp_path_factory.mktemp("h")
    root = area / "in" / "root"
    root.mkdir(parents=True)
    (area / "outside").write_text("untouched")
    (area / "in" / "outside").write_text("untouched")
    try:
        put(root, *entries)
    except ContainerdError:
        pass
    assert sorted(os.listdir(area)) == ["in", "outside"]
    assert sorted(os.listdir(area / "in")) == ["outside", "root"]
    assert (area / "outside").read_text() == (area / "in/outside").read_text() == "untouched"
    assert os.stat(area / "outside").st_nlink == os.stat(area / "in/outside").st_nlink == 1


def test_limits_of_a_layer_can_be_tighter(root):
    with pytest.raises(ContainerdError, match="max_entries"):
        put(root, *[entry(str(number)) for number in range(20)], limits=Limits(max_entries=10))
