"""Layers to snapshots and back, on real mounts of both snapshotters."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import zstandard

from pycontainerd.content.local import LocalStore
from pycontainerd.contracts import digests
from pycontainerd.contracts import media_types as media
from pycontainerd.contracts.errors import (
    ContainerdError,
    DataLoss,
    InvalidArgument,
    NotFound,
    NotImplemented,
    ResourceExhausted,
)
from pycontainerd.contracts.types import Descriptor, Mount
from pycontainerd.diff.differ import UNCOMPRESSED, WalkingDiffer
from pycontainerd.diff.limits import Limits
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.sys.mount import mounted, mounts_under, remove_tree
from pycontainerd_snapshotter_overlay.snapshotter import OverlaySnapshotter

pytestmark = pytest.mark.root


class Labelling(LocalStore):
    """The local store, remembering the labels it is given."""

    def __init__(self, root):
        super().__init__(root)
        self.labels = {}

    def writer(self, ref, *, total=0, expected=""):
        inner = super().writer(ref, total=total, expected=expected)
        commit = inner.commit

        def labelled(size=0, digest="", labels=None):
            self.labels[digest] = dict(labels or {})
            return commit(size, digest)

        inner.commit = labelled
        return inner


@pytest.fixture
def area() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    os.mkdir(f"{path}/state")
    yield path
    assert os.listdir(f"{path}/state") == []
    assert mounts_under(path) == []
    remove_tree(path)


@pytest.fixture
def store(area):
    return Labelling(f"{area}/content")


@pytest.fixture
def differ(area):
    return WalkingDiffer(f"{area}/state")


@pytest.fixture(params=["native", "overlayfs"])
def snapshotter(request, area):
    database = SqliteDatabase(f"{area}/metadata.db", pytest.fail, sync=False)
    make = {"native": NativeSnapshotter, "overlayfs": OverlaySnapshotter}[request.param]
    made = make(f"{area}/snapshots", RecordStore(database).records(request.param))
    yield made
    made.close()
    made.cleanup()
    database.close()


def layer(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("_", "/"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def put(store, data: bytes, media_type: str) -> Descriptor:
    writer = store.writer("put")
    writer.write(data)
    info = writer.commit(len(data), digests.of(data))
    return Descriptor(media_type, info.digest, info.size)


def fingerprint(root: str) -> dict[str, tuple]:
    """Everything below ``root`` that a layer carries."""
    found = {}
    groups: dict[int, int] = {}
    for where, directories, files in os.walk(root):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = os.path.join(where, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = (file.read(), groups.setdefault(status.st_ino, len(groups)))
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            times = None if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if "overlay" not in key
            }
            owner = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev)
            found[os.path.relpath(path, root)] = (owner, times, content, attributes)
    return found


def scramble(root: str, chance: random.Random) -> None:
    """Make, change and delete things at random."""
    for _ in range(30):
        directories = [where for where, _, _ in os.walk(root)]
        path = os.path.join(chance.choice(directories), chance.choice("abcdé") + "x" * chance.choice([0, 0, 120]))
        if os.path.lexists(path):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
            if chance.random() < 0.5:
                continue
        kind = chance.randrange(6)
        if kind == 0:
            os.mkdir(path)
            os.chmod(path, chance.choice([0o755, 0o1777]))
        elif kind == 1:
            os.symlink(chance.choice(["a", "/etc", "../b"]), path)
        elif kind == 2:
            os.mkfifo(path)
        else:
            with open(path, "wb") as file:
                file.write(chance.randbytes(chance.choice([0, 10, 5000])))
            os.chown(path, chance.randrange(3), chance.randrange(3))
            os.chmod(path, chance.choice([0o644, 0o4755]))
            if chance.random() < 0.3:
                os.setxattr(path, "user.test", b"\0\xff=\n")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [media.OCI_LAYER, media.OCI_LAYER_GZIP, media.OCI_LAYER_ZSTD])
def test_a_layer_made_of_the_difference_gives_the_same_tree(snapshotter, differ, store, seed, kind):
    chance = random.Random(seed)
    with mounted(snapshotter.prepare("a")) as root:
        scramble(root, chance)
    snapshotter.commit("lower", "a")
    with mounted(snapshotter.prepare("upper", "lower")) as root:
        scramble(root, chance)
        wanted = fingerprint(root)
    made = differ.compare(store, snapshotter.view("v", "lower"), snapshotter.mounts("upper"), media_type=kind)
    assert made.media_type == kind
    applied = differ.apply(store, made, snapshotter.prepare("copy", "lower"))
    assert applied.digest == store.labels[made.digest][UNCOMPRESSED]
    with mounted(snapshotter.mounts("copy")) as root:
        assert fingerprint(root) == wanted
    assert list(store.statuses()) == []


@pytest.mark.parametrize(
    ("kind", "compress"),
    [
        (media.OCI_LAYER, bytes),
        (media.OCI_LAYER_GZIP, gzip.compress),
        (media.OCI_LAYER_ZSTD, zstandard.compress),
        (media.DOCKER_LAYER_GZIP, gzip.compress),
        (media.DOCKER_LAYER, gzip.compress),
        (media.OCI_LAYER_GZIP, bytes),
    ],
)
def test_layers_are_applied_whatever_their_compression_and_what_is_said_of_it(
    snapshotter, differ, store, kind, compress
):
    plain = layer(d_f=b"x" * 3000)
    applied = differ.apply(store, put(store, compress(plain), kind), snapshotter.prepare("a"))
    assert (applied.media_type, applied.digest, applied.size) == (media.OCI_LAYER, digests.of(plain), len(plain))
    with mounted(snapshotter.mounts("a")) as root:
        assert fingerprint(root).keys() == {"d", "d/f"}


def test_what_follows_the_end_of_the_archive_counts_for_the_digest(snapshotter, differ, store):
    plain = layer(f=b"x") + bytes(100_000)
    applied = differ.apply(store, put(store, gzip.compress(plain), media.OCI_LAYER_GZIP), snapshotter.prepare("a"))
    assert (applied.digest, applied.size) == (digests.of(plain), len(plain))


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: data[: len(data) // 2], DataLoss),
        (lambda data: data[:200] + bytes([data[200] ^ 0x55]) + data[201:], DataLoss),
        (lambda data: data + b"garbage", DataLoss),
        (lambda data: gzip.compress(b"no archive at all, but long enough to be a header" * 20), DataLoss),
    ],
)
def test_a_damaged_layer_is_data_loss_that_names_it(snapshotter, differ, store, damage, error):
    data = damage(gzip.compress(layer(f=os.urandom(5000))))
    target = put(store, data, media.OCI_LAYER_GZIP)
    with pytest.raises(error, match=target.digest):
        differ.apply(store, target, snapshotter.prepare("a"))


def test_bytes_that_rotted_in_the_store_are_data_loss(snapshotter, differ, store):
    target = put(store, layer(f=b"x" * 3000), media.OCI_LAYER)
    path = store.path(target.digest)
    os.chmod(path, 0o644)
    with open(path, "r+b") as file:
        file.seek(600)
        file.write(b"y")
    with pytest.raises(DataLoss, match="stored bytes"):
        differ.apply(store, target, snapshotter.prepare("a"))


def test_a_bomb_is_stopped_at_the_limit(area, snapshotter, store):
    target = put(store, gzip.compress(layer(f=bytes(8 << 20))), media.OCI_LAYER_GZIP)
    differ = WalkingDiffer(f"{area}/state", Limits(max_inflated=1 << 20))
    with pytest.raises(ResourceExhausted, match="max_inflated"):
        differ.apply(store, target, snapshotter.prepare("a"))


def test_an_unknown_media_type_is_not_implemented(snapshotter, differ, store):
    mounts = snapshotter.prepare("a")
    for kind in ("application/vnd.oci.image.config.v1+json", media.OCI_LAYER_GZIP + "+encrypted", ""):
        with pytest.raises(NotImplemented):
            differ.apply(store, put(store, kind.encode(), kind), mounts)
    with pytest.raises(NotImplemented):
        differ.compare(store, mounts, mounts, media_type="application/json")
    assert list(store.statuses()) == []


def test_a_missing_layer_is_not_found(snapshotter, differ, store):
    with pytest.raises(NotFound):
        differ.apply(store, Descriptor(media.OCI_LAYER, "sha256:" + "0" * 64, 0), snapshotter.prepare("a"))


def test_mounts_that_cannot_be_mounted_leave_no_ingest(differ, store, area):
    nowhere = [Mount("bind", f"{area}/missing", options=("rbind", "ro"))]
    with pytest.raises(ContainerdError):
        differ.compare(store, nowhere, nowhere)
    assert list(store.statuses()) == []
    assert list(store.walk()) == []


def test_an_escape_through_a_layer_below_is_stopped(snapshotter, differ, store, area):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("escape")
        info.type, info.linkname = tarfile.SYMTYPE, area
        tar.addfile(info)
    differ.apply(store, put(store, out.getvalue(), media.OCI_LAYER), snapshotter.prepare("a"))
    snapshotter.commit("c", "a")
    before = sorted(os.listdir(area))
    target = put(store, layer(escape_planted=b"x"), media.OCI_LAYER)
    try:
        differ.apply(store, target, snapshotter.prepare("b", "c"))
    except InvalidArgument:
        pass
    assert sorted(os.listdir(area)) == before


def test_opaque_and_plain_whiteouts_hide_what_is_in_layers_below(snapshotter, differ, store):
    differ.apply(store, put(store, layer(d_old=b"1", d_e_old=b"1", f=b"1"), media.OCI_LAYER), snapshotter.prepare("a"))
    snapshotter.commit("c", "a")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("d/.wh..wh..opq", "d/new", ".wh.f", ".wh.missing"):
            tar.addfile(tarfile.TarInfo(name))
    differ.apply(store, put(store, out.getvalue(), media.OCI_LAYER), snapshotter.prepare("b", "c"))
    snapshotter.commit("d", "b")
    with mounted(snapshotter.view("v", "d")) as root:
        assert fingerprint(root).keys() == {"d", "d/new"}


def test_with_an_epoch_the_same_files_make_the_same_layer(snapshotter, differ, store):
    snapshotter.prepare("empty")
    snapshotter.commit("c", "empty")
    made = set()
    for number in range(2):
        with mounted(snapshotter.prepare(f"a{number}", "c")) as root:
            with open(f"{root}/f", "w") as file:
                file.write("same")
            os.utime(f"{root}/f", ns=(0, 10**18 + number))
        lower, upper = snapshotter.view(f"v{number}", "c"), snapshotter.mounts(f"a{number}")
        made.add(differ.compare(store, lower, upper, epoch=datetime.fromtimestamp(1000, UTC)).digest)
        store.delete(next(iter(made)))
    assert len(made) == 1
