"""Reading tar: what Python's own tarfile reads, and nothing but errors of the family for everything else."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.errors import ContainerdError, DataLoss, InvalidArgument, ResourceExhausted
from pycontainerd.diff.limits import Limits
from pycontainerd.diff.tar_reader import TarReader

SMALL = Limits(max_entries=100, max_pax=4096, max_sparse_regions=64, max_xattrs=4)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def read(data: bytes, size: int = 1000, limits: Limits | None = None):
    reader = TarReader(pieces(data, size), limits)
    found = []
    while (entry := reader.next()) is not None:
        found.append((entry, b"".join(reader.data())))
    reader.drain()
    return found


def archive(*members: tuple[tarfile.TarInfo, bytes], fmt: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, data: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=250).filter(
    lambda name: name.strip("/") != "" and not name.endswith("/")
)
members = st.builds(
    member,
    names,
    st.binary(max_size=1500),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**31),
    gid=st.integers(0, 2**31),
    mtime=st.integers(0, 2**32),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(members, max_size=6), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.integers(1, 3000))
def test_a_well_formed_archive_reads_as_tarfile_reads_it(found, fmt, size):
    data = archive(*found, fmt=fmt)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [
            (info.name.encode(), info.mode, info.uid, info.gid, info.mtime, tar.extractfile(info).read())
            for info in tar
        ]
    ours = [
        (entry.name, entry.mode, entry.uid, entry.gid, entry.mtime / 1e9, content)
        for entry, content in read(data, size)
    ]
    assert ours == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(members, min_size=1, max_size=3), st.data())
def test_a_damaged_archive_raises_nothing_but_our_errors(found, draw):
    data = bytearray(archive(*found))
    for _ in range(draw.draw(st.integers(1, 5))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(data)))
    for damaged in (bytes(data), bytes(data[:cut])):
        try:
            read(damaged, 700, SMALL)
        except ContainerdError:
            pass


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "path",
                "linkpath",
                "size",
                "uid",
                "mtime",
                "GNU.sparse.major",
                "GNU.sparse.minor",
                "GNU.sparse.map",
                "GNU.sparse.realsize",
                "GNU.sparse.size",
                "SCHILY.xattr.user.a",
                "hdrcharset",
            ]
        ),
        st.text("0123456789,.-ax", max_size=12),
    ),
    st.binary(max_size=1200),
)
def test_whatever_extended_headers_say_raises_nothing_but_our_errors(records, data):
    info, content = member("f", data)
    info.pax_headers = records
    try:
        read(archive((info, content)), 600, SMALL)
    except ContainerdError:
        pass


def test_gnu_sparse_one_point_zero_has_its_map_before_the_data():
    body = b"2\n0\n4\n1048576\n3\n".ljust(512, b"\0") + b"headend"
    info, content = member("s", body)
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "real",
        "GNU.sparse.realsize": "1048579",
    }
    ((entry, data),) = read(archive((info, content)))
    assert (entry.name, entry.sparse, entry.real_size, data) == (b"real", [(0, 4), (1048576, 3)], 1048579, b"headend")


def test_extended_attributes_and_fractions_of_seconds_are_kept():
    info, content = member("f", b"x")
    info.pax_headers = {"SCHILY.xattr.user.a": "1=2", "mtime": "12.000000345"}
    ((entry, _),) = read(archive((info, content)))
    assert entry.xattrs == {"user.a": b"1=2"}
    assert entry.mtime == 12_000_000_345


@pytest.mark.parametrize("cut", [100, 512, 600, 1023])
def test_an_archive_that_ends_in_the_middle_is_data_loss(cut):
    data = archive(member("f", b"x" * 2000))
    with pytest.raises(DataLoss, match="ends at byte"):
        read(data[:cut] if cut != 512 else data[:1024])


def test_a_wrong_checksum_is_data_loss():
    data = bytearray(archive(member("f")))
    data[0] ^= 1
    with pytest.raises(DataLoss, match="checksum"):
        read(bytes(data))


def test_an_extended_header_beyond_the_limit_is_refused_before_it_is_read():
    info, content = member("f")
    info.pax_headers = {"comment": "x" * (2 << 20)}
    with pytest.raises(InvalidArgument, match="max_pax"):
        read(archive((info, content)))


def test_too_many_entries_are_refused():
    with pytest.raises(ResourceExhausted, match="max_entries"):
        read(archive(*[member(str(number)) for number in range(101)]), limits=SMALL)


def test_an_unknown_type_is_refused():
    with pytest.raises(InvalidArgument, match="type b'Q'"):
        read(archive(member("f", type=b"Q")))


@pytest.mark.parametrize("owner", ["4294967296", "99999999999999999999"])
def test_an_impossible_owner_is_refused(owner):
    info, content = member("f")
    info.pax_headers = {"uid": owner}
    with pytest.raises(InvalidArgument, match="owner"):
        read(archive((info, content)))
