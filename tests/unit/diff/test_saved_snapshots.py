"""Archives of whole snapshots: what comes back is what was saved."""

from __future__ import annotations

import io
import os
import random
import stat
import tarfile
import tempfile
from collections.abc import Iterator

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.content.local import LocalStore
from pycontainerd.contracts import digests
from pycontainerd.contracts import media_types as media
from pycontainerd.contracts.errors import ContainerdError, DataLoss
from pycontainerd.contracts.types import Descriptor, Mount
from pycontainerd.diff.apply import apply
from pycontainerd.diff.compare import write_tree
from pycontainerd.diff.differ import WalkingDiffer
from pycontainerd.diff.limits import Limits
from pycontainerd.sys.mount import remove_tree
from pycontainerd.testing.trees import describe

pytestmark = pytest.mark.root


@pytest.fixture
def area() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    for name in ("from", "to", "state"):
        os.mkdir(f"{path}/{name}")
    yield path
    remove_tree(path)


def fill(root: str) -> None:
    """Everything a file system can have in it, and names that would be something else in a layer."""
    os.makedirs(f"{root}/d/.wh.directory/deep")
    for name, text in {
        "f": "text",
        "d/.wh.f": "no whiteout",
        "d/.wh..wh..opq": "",
        "d/.wh.directory/deep/f": "x",
    }.items():
        with open(f"{root}/{name}", "w") as file:
            file.write(text)
    os.link(f"{root}/f", f"{root}/d/hard")
    os.symlink("../../outside", f"{root}/d/soft")
    os.mkfifo(f"{root}/pipe", 0o640)
    os.mknod(f"{root}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(f"{root}/whiteout", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    os.mknod(f"{root}/disk", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    sparse(f"{root}/sparse", 40 << 20, {0: b"begin", 10 << 20: os.urandom(70_000), (40 << 20) - 5: b"end!!"})
    sparse(f"{root}/d/" + "long name " * 12 + "ü", 5 << 20, {3 << 20: b"middle"})
    sparse(f"{root}/hole", 3 << 20, {})
    os.setxattr(f"{root}/f", "user.text", b"value")
    os.setxattr(f"{root}/d", "trusted.bytes", bytes(range(256)))
    os.setxattr(f"{root}/d/soft", "trusted.link", b"on a link", follow_symlinks=False)
    os.setxattr(f"{root}/f", "security.capability", bytes.fromhex("0000000200000000200000000000000000000000")[:20])
    os.chown(f"{root}/d", 1000, 70000)
    os.lchown(f"{root}/d/soft", 5, 6)
    os.chmod(f"{root}/d/.wh.f", 0o6751)
    for number, name in enumerate(("d/soft", "f", "null", "sparse", "d")):
        os.utime(f"{root}/{name}", ns=(2 * 10**18 + number, 10**18 + 123_456_789 + number), follow_symlinks=False)
    os.chown(root, 7, 8)
    os.chmod(root, 0o1770)
    os.utime(root, ns=(10**18 + 5, 10**18 + 5))


def sparse(path: str, size: int, regions: dict[int, bytes]) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        for at, data in regions.items():
            file.seek(at)
            file.write(data)


def saved(differ: WalkingDiffer, store: LocalStore, path: str) -> Descriptor:
    return differ.compare(store, [], [Mount("bind", path, options=("rbind", "rw"))], media_type=media.SAVED_SNAPSHOT)


def test_a_restored_tree_is_the_saved_one_to_the_last_bit(area):
    fill(f"{area}/from")
    wanted = describe(f"{area}/from")
    store, differ = LocalStore(f"{area}/content"), WalkingDiffer(f"{area}/state")
    archive = saved(differ, store, f"{area}/from")
    assert archive.media_type == media.SAVED_SNAPSHOT
    assert archive.size < 2 << 20  # holes are not in it
    differ.apply(store, archive, [Mount("bind", f"{area}/to", options=("rbind", "rw"))])
    assert describe(f"{area}/to") == wanted
    for name in ("sparse", "hole"):
        found = os.stat(f"{area}/to/{name}")
        assert found.st_blocks * 512 <= os.stat(f"{area}/from/{name}").st_blocks * 512


def test_the_archive_is_one_that_other_tools_read(area):
    fill(f"{area}/from")
    store, differ = LocalStore(f"{area}/content"), WalkingDiffer(f"{area}/state")
    archive = saved(differ, store, f"{area}/from")
    with open(f"{area}/content/blobs/sha256/{archive.digest.removeprefix('sha256:')}", "rb") as file:
        plain = lz4.frame.decompress(file.read())
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        members = {member.name: member for member in tar}
        assert members["sparse"].size == 40 << 20
        reader = tar.extractfile("sparse")
        assert reader is not None
        with open(f"{area}/from/sparse", "rb") as file:
            assert reader.read() == file.read()


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3)), max_size=8),
    st.integers(1, 70),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_any_pattern_of_holes_comes_back(regions, blocks, chance: random.Random):
    with tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as area:
        for name in ("from", "to"):
            os.mkdir(f"{area}/{name}")
        data = {at * 4096: chance.randbytes(length * 4000) for at, length in regions if at < blocks}
        sparse(f"{area}/from/f", blocks * 4096 + chance.randrange(4096), data)
        out = io.BytesIO()
        write_tree(f"{area}/from", out)
        # Chunks of any size, as they come from a decompressor.
        size = chance.randrange(100, 5000)
        chunks = [out.getvalue()[at : at + size] for at in range(0, out.tell(), size)]
        apply(f"{area}/to", chunks, whiteouts=False)
        assert describe(f"{area}/to") == describe(f"{area}/from")


def stored(store: LocalStore, data: bytes) -> Descriptor:
    digest = digests.of(data)
    writer = store.writer("test", total=len(data), expected=digest)
    writer.write(data)
    writer.commit(len(data), digest)
    writer.close()
    return Descriptor(media.SAVED_SNAPSHOT, digest, len(data))


@pytest.mark.parametrize("damage", ["cut off", "a byte changed", "no lz4", "rest behind it"])
def test_a_damaged_archive_is_refused(area, damage):
    fill(f"{area}/from")
    out = io.BytesIO()
    write_tree(f"{area}/from", out)
    data = lz4.frame.compress(out.getvalue(), content_checksum=True)
    bad = {
        "cut off": data[:-9],
        "a byte changed": data[:5000] + bytes((data[5000] ^ 1,)) + data[5001:],
        "no lz4": b"something else" * 100,
        "rest behind it": data + b"rest",
    }[damage]
    store, differ = LocalStore(f"{area}/content"), WalkingDiffer(f"{area}/state")
    with pytest.raises(ContainerdError):
        differ.apply(store, stored(store, bad), [Mount("bind", f"{area}/to", options=("rbind", "rw"))])


def test_an_archive_that_wants_out_stays_in(area):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, link in (
            ("../up", ""),
            ("/abs", ""),
            ("link", "/"),
            ("link/through", ""),
            ("back", "../.."),
            ("back/b", ""),
        ):
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info, io.BytesIO())
    apply(f"{area}/to", [out.getvalue()], whiteouts=False)
    assert sorted(os.listdir(area)) == ["from", "state", "to"]
    assert sorted(os.listdir(f"{area}/to")) == ["abs", "b", "back", "link", "through", "up"]
    assert not os.path.exists("/through")


def test_an_archive_that_inflates_without_end_is_stopped(area):
    store, differ = LocalStore(f"{area}/content"), WalkingDiffer(f"{area}/state", Limits(max_inflated=1 << 20))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("zeros")
        info.size = 64 << 20
        tar.addfile(info, io.BytesIO(bytes(64 << 20)))
    bomb = stored(store, lz4.frame.compress(out.getvalue()))
    with pytest.raises(ContainerdError, match="max_inflated"):
        differ.apply(store, bomb, [Mount("bind", f"{area}/to", options=("rbind", "rw"))])


def test_a_file_that_shrinks_while_it_is_saved_is_said(area, monkeypatch):
    sparse(f"{area}/from/f", 4 << 20, {1 << 20: os.urandom(1 << 20)})
    lseek = os.lseek

    def shrinking(fd, at, how):
        found = lseek(fd, at, how)
        if how == os.SEEK_HOLE:
            os.truncate(f"{area}/from/f", 100)
        return found

    monkeypatch.setattr(os, "lseek", shrinking)
    with pytest.raises((ContainerdError, OSError), match=r"shorter|unexpected end"):
        write_tree(f"{area}/from", io.BytesIO())


def test_an_lz4_layer_is_made_and_applied(area):
    with open(f"{area}/from/f", "w") as file:
        file.write("x" * 100_000)
    store, differ = LocalStore(f"{area}/content"), WalkingDiffer(f"{area}/state")
    kind = f"{media.OCI_LAYER}+lz4"
    upper = [Mount("bind", f"{area}/from", options=("rbind", "rw"))]
    layer = differ.compare(store, [], upper, media_type=kind)
    applied = differ.apply(store, layer, [Mount("bind", f"{area}/to", options=("rbind", "rw"))])
    assert applied.size > 100_000 > layer.size
    assert os.path.getsize(f"{area}/to/f") == 100_000
    with pytest.raises(DataLoss):
        differ.apply(store, stored(store, b"\x04\x22\x4d\x18" + b"x" * 600), upper)
