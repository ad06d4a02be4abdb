"""ID-mapped mounts: the mapping's text, and owners as they are seen through real mounts."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.errors import InvalidArgument, NotImplemented
from pycontainerd.contracts.types import Mount
from pycontainerd.sys import idmap
from pycontainerd.sys.mount import mounted
from pycontainerd.sys.mountinfo import read_mountinfo

MAPPING = ("uidmap=0:100000:65536", "gidmap=0:200000:65536")


def test_a_mapping_is_read():
    mapping = idmap.parse("0:1000:10,10:5000:1", "5:1:1,0:2000:5")
    assert mapping.uids == (idmap.Range(0, 1000, 10), idmap.Range(10, 5000, 1))
    assert mapping.root() == (1000, 2000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0:1",
        "0:1:0",
        "a:1:1",
        "-1:1:1",
        "0:1:4294967296",
        "0:1:1:1",
        "0:4294967295:2",
        "0:1:1,",
        " 0:1:1",
        "²:1:1",
    ],
)
def test_a_malformed_mapping_is_refused(text):
    with pytest.raises(InvalidArgument, match="mapping"):
        idmap.parse(text, "0:1:1")
    with pytest.raises(InvalidArgument, match="mapping"):
        idmap.parse("0:1:1", text)


@pytest.mark.parametrize("text", ["0:1000:10,9:5000:1", "0:1000:10,50:1009:2", ",".join(["0:0:1"] * 341)])
def test_overlapping_and_endless_mappings_are_refused(text):
    with pytest.raises(InvalidArgument, match=r"overlap|ranges"):
        idmap.parse(text, "0:1:1")


def test_a_mapping_without_a_root_has_none():
    with pytest.raises(InvalidArgument, match="no group"):
        idmap.parse("0:1000:1", "1:1000:1").root()


@given(st.text(alphabet="0123456789:,- ", max_size=60))
@settings(max_examples=200)
def test_any_text_is_a_mapping_or_refused(text):
    try:
        mapping = idmap.parse(text, text)
    except InvalidArgument:
        return
    again = ",".join(f"{one.container}:{one.host}:{one.size}" for one in mapping.uids)
    assert idmap.parse(again, again) == mapping


@pytest.mark.root
def test_a_bind_mount_shows_mapped_owners(tmp_path):
    (tmp_path / "f").write_text("x")
    os.chown(tmp_path / "f", 5, 6)
    with mounted([Mount("bind", str(tmp_path), options=("rbind", "ro", *MAPPING))]) as root:
        found = os.stat(f"{root}/f")
        assert (found.st_uid, found.st_gid) == (100005, 200006)
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(f"{root}/new")
    found = os.stat(tmp_path / "f")
    assert (found.st_uid, found.st_gid) == (5, 6)


@pytest.mark.root
@pytest.mark.parametrize("count", [1, 3, 120])
def test_the_lower_layers_of_an_overlay_show_mapped_owners(count):
    with tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as base:
        layers = [f"{base}/a rather long name of a directory: {number}" for number in range(count)]
        for number, layer in enumerate(layers):
            os.mkdir(layer)
            with open(f"{layer}/{number}", "w") as file:
                os.fchown(file.fileno(), number, number)
        for name in ("upper", "work"):
            os.mkdir(f"{base}/{name}")
        os.chown(f"{base}/upper", 100000, 200000)
        lower = ":".join(layer.replace(":", r"\:") for layer in layers)
        options = (f"workdir={base}/work", f"upperdir={base}/upper", f"lowerdir={lower}", *MAPPING)
        before = len(read_mountinfo())
        with mounted([Mount("overlay", "overlay", options=options)]) as root:
            assert len(read_mountinfo()) == before + 1  # nothing else is left mounted
            for number in range(count):
                found = os.stat(f"{root}/{number}")
                assert (found.st_uid, found.st_gid) == (100000 + number, 200000 + number)
            os.chown(f"{root}/0", 100007, 200007)
        assert os.stat(f"{base}/upper/0").st_uid == 100007
        assert os.stat(f"{layers[0]}/0").st_uid == 0


@pytest.mark.root
def test_a_file_system_that_cannot_be_mapped_is_said_and_leaves_nothing_mounted():
    before = len(read_mountinfo())
    with (
        pytest.raises(NotImplemented, match="cannot be mounted with mapped owners"),
        mounted([Mount("bind", "/proc", options=("bind", *MAPPING))]),
    ):
        pass
    assert len(read_mountinfo()) == before


@pytest.mark.root
def test_namespaces_need_no_unshare_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    fd = idmap._make_namespace(idmap.parse("0:7:1", "0:7:1"))
    os.close(fd)


@pytest.mark.root
def test_support_is_found_out_by_trying(tmp_path):
    assert idmap.supported(str(tmp_path))
    assert not idmap.supported("/proc")
