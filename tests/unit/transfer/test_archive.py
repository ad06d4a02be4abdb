"""Image archives from people who mean well, and from others, read into a real content store."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycontainerd.content.local import LocalStore
from pycontainerd.contracts import digests, media_types
from pycontainerd.contracts.errors import Cancelled, ContainerdError, DataLoss, InvalidArgument
from pycontainerd.contracts.types import Descriptor
from pycontainerd.testing import images
from pycontainerd.transfer import tarstream
from pycontainerd.transfer.archive import import_archive
from pycontainerd.transfer.contents import document

IMAGE = images.image([images.layer([images.Node("a", b"hello" * 1000)])])
OCI = images.oci_archive({"r.test/a:1": IMAGE})
DOCKER = images.docker_archive({"a:1": IMAGE})


def archive(*entries):
    """A tar of (name, bytes) or ready TarInfo entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            name, data = entry
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pieces(data, size=5000):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.fixture
def store(tmp_path):
    return LocalStore(str(tmp_path))


def load(store, data, **options):
    try:
        return document(store, import_archive(store, pieces(data), **options)).children
    finally:
        assert not list(store.statuses())


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["tar", "gzip", "zstd"]
)
@pytest.mark.parametrize("data", [OCI, DOCKER], ids=["oci", "docker"])
def test_archives_are_imported_plain_and_compressed(store, pack, data):
    (child,) = load(store, pack(data))
    manifest = document(store, child)
    assert [store.info(one.digest).size for one in manifest.children] == [one.size for one in manifest.children]
    assert manifest.config.digest == IMAGE.config.digest


def test_an_archive_can_be_imported_twice(store):
    assert load(store, OCI) == load(store, OCI)
    assert load(store, DOCKER) == load(store, DOCKER)


def test_an_image_saved_by_docker_gets_names_platform_and_types(store):
    (child,) = load(store, DOCKER)
    assert child.annotations["io.containerd.image.name"] == "docker.io/library/a:1"
    assert child.annotations["org.opencontainers.image.ref.name"] == "1"
    assert child.platform is not None
    assert [one.media_type for one in document(store, child).children] == [
        media_types.DOCKER_CONFIG,
        media_types.DOCKER_LAYER,
    ]


def test_layers_are_compressed_where_that_is_asked_for(store):
    (child,) = load(store, DOCKER, compress=True)
    layer = document(store, child).children[1]
    assert layer.media_type == media_types.DOCKER_LAYER_GZIP
    assert gzip.decompress(store.open(layer.digest).read_at(0, layer.size)) == IMAGE.layers[0].tar


def test_docker_links_a_layer_to_that_of_another_image(store):
    link = tarfile.TarInfo("second/layer.tar")
    link.type, link.linkname = tarfile.SYMTYPE, "../first/layer.tar"
    entry = {"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["second/layer.tar"]}
    (child,) = load(
        store,
        archive(
            ("first/layer.tar", IMAGE.layers[0].tar),
            link,
            ("c.json", IMAGE.config.data),
            ("manifest.json", json.dumps([entry]).encode()),
        ),
    )
    assert document(store, child).children[1].digest == IMAGE.layers[0].diff_id


def test_links_in_a_circle_lead_nowhere(store):
    links = []
    for name, target in (("a", "b"), ("b", "a")):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        links.append(link)
    entry = {"Config": "a", "RepoTags": [], "Layers": []}
    with pytest.raises(InvalidArgument, match="not in the archive"):
        load(store, archive(*links, ("manifest.json", json.dumps([entry]).encode())))


def test_a_blob_that_is_not_what_its_name_says_is_refused(store):
    with pytest.raises(DataLoss, match="not what its name says"):
        load(store, archive(("blobs/sha256/" + "0" * 64, b"lie")))
    assert not list(store.walk())


def test_a_known_blob_is_checked_again(store):
    load(store, OCI)
    name = "blobs/sha256/" + IMAGE.config.digest.removeprefix("sha256:")
    with pytest.raises(DataLoss):
        load(store, archive((name, b"lie")))


@pytest.mark.parametrize("name", ["blobs/sha256/xyz", "blobs/md5/" + "0" * 32, "blobs/sha256/" + "A" * 64])
def test_a_blob_whose_name_is_no_digest_is_refused(store, name):
    with pytest.raises(InvalidArgument):
        load(store, archive((name, b"")))


def test_names_are_never_paths(store, tmp_path):
    entries = [("../../evil", b"x"), ("/etc/evil", b"x"), ("blobs/../../evil2", b"x")]
    device = tarfile.TarInfo("dev")
    device.type = tarfile.BLKTYPE
    layout = ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    load(store, archive(*entries, device, layout, ("index.json", b'{"schemaVersion": 2, "manifests": []}')))
    assert not list(tmp_path.parent.rglob("*evil*"))


@pytest.mark.parametrize("data", [OCI, gzip.compress(OCI), zstandard.ZstdCompressor().compress(OCI), DOCKER])
def test_a_truncated_archive_is_an_error_wherever_it_ends(store, data):
    # What comes before the description of the images; for compressed archives anything but the very end.
    last = max(data.rfind(b"index.json"), data.rfind(b"manifest.json"))
    for end in range(0, last if last > 0 else len(data) - 9, max(1, len(data) // 23)):
        with pytest.raises((DataLoss, InvalidArgument)):
            load(store, data[:end])


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_corrupt_compression_is_an_error(store, pack):
    data = bytearray(pack(OCI))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises((DataLoss, InvalidArgument)):
        load(store, bytes(data))


@pytest.mark.parametrize(
    "files",
    [
        [("other", b"x")],
        [("index.json", b"[]")],
        [("index.json", b"{")],
        [("oci-layout", b'{"imageLayoutVersion": "2.0.0"}'), ("index.json", b"{}")],
        [("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')],
        [("manifest.json", b"{}")],
        [("manifest.json", b'[{"Config": 1}]')],
        [("manifest.json", b'[{"Config": "c", "Layers": [2]}]')],
        [("manifest.json", b'[{"Config": "c", "Layers": [], "RepoTags": "x"}]')],
        [("c", b"{}"), ("manifest.json", b'[{"Config": "c", "Layers": ["nowhere"]}]')],
        [("c", b"{}"), ("manifest.json", b'[{"Config": "c", "RepoTags": ["Bad Name"]}]')],
        [("manifest.json", b"[" * 100_000)],
    ],
)
def test_what_is_no_image_archive_is_refused(store, files):
    with pytest.raises(InvalidArgument):
        load(store, archive(*files))


@pytest.mark.parametrize("data", [b"", b"not a tar" * 1000, bytes(100), bytes(10240)])
def test_what_is_no_archive_is_refused(store, data):
    with pytest.raises((InvalidArgument, DataLoss)):
        load(store, data)


def test_an_index_of_a_hundred_megabytes_is_refused_unread(store):
    info = tarfile.TarInfo("index.json")
    info.size = 100 << 20
    with pytest.raises(InvalidArgument, match="the limit is"):
        import_archive(store, [info.tobuf()])


def test_headers_that_would_fill_the_memory_are_refused(store):
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        info = tarfile.TarInfo("h")
        info.type, info.size = kind, 1 << 40
        with pytest.raises(InvalidArgument, match="header"):
            import_archive(store, [info.tobuf(tarfile.GNU_FORMAT)])


def test_a_sparse_file_is_refused(store):
    info = tarfile.TarInfo("blobs/x")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 50)}
    with pytest.raises((InvalidArgument, DataLoss)):
        load(store, info.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0") + bytes(1024))


def test_an_archive_of_too_many_entries_is_refused(store, monkeypatch):
    monkeypatch.setattr(tarstream, "MAX_MEMBERS", 10)
    with pytest.raises(InvalidArgument, match="more than 10"):
        load(store, archive(*((f"f{number}", b"") for number in range(12))))


def test_a_client_that_goes_away_leaves_nothing(store):
    def source():
        yield OCI[: len(OCI) // 2]
        raise Cancelled("gone")

    with pytest.raises(Cancelled):
        import_archive(store, source())
    assert not list(store.statuses())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(OCI) - 1), st.binary(min_size=1, max_size=40))
def test_a_damaged_archive_gives_an_error_of_ours_or_the_image(store, where, damage):
    data = OCI[:where] + damage + OCI[where + len(damage) :]
    try:
        children = load(store, data)
    except ContainerdError:
        return
    for child in children:
        assert isinstance(child, Descriptor)
        digests.validate(child.digest)
