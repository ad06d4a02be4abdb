"""Inflating: every compression, any chunking, and nothing that is cut off or followed by something else."""

from __future__ import annotations

import gzip

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.contracts.errors import DataLoss
from pycontainerd.contracts.media_types import DETECT
from pycontainerd.diff.inflate import CHUNK, inflate

DATA = b"".join(b"%d line of a layer\n" % number for number in range(60_000))
COMPRESSED = {
    "gzip": gzip.compress(DATA, 1),
    "zstd": zstandard.compress(DATA),
    "lz4": lz4.frame.compress(DATA),
}


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def plain(name: str, data: bytes, size: int = 7919) -> bytes:
    return b"".join(inflate(name, pieces(data, size)))


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("size", [1009, 65536, 1 << 22])
def test_what_was_compressed_comes_out_whatever_the_chunks(name, size):
    assert plain(name, COMPRESSED[name], size) == DATA
    assert plain(DETECT, COMPRESSED[name], size) == DATA


@pytest.mark.parametrize("name", COMPRESSED)
def test_several_members_are_one_stream(name):
    assert plain(name, COMPRESSED[name] * 3) == DATA * 3


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("cut", [1, 4, 100])
def test_a_truncated_stream_is_data_loss(name, cut):
    with pytest.raises(DataLoss, match=name):
        plain(name, COMPRESSED[name][:-cut])


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_second_member_that_is_cut_off_is_data_loss(name):
    with pytest.raises(DataLoss, match=name):
        plain(name, COMPRESSED[name] + COMPRESSED[name][:50])


@pytest.mark.parametrize("name", COMPRESSED)
def test_something_else_after_the_end_is_data_loss(name):
    with pytest.raises(DataLoss, match=name):
        plain(name, COMPRESSED[name] + b"something else")


@pytest.mark.parametrize("name", COMPRESSED)
def test_an_empty_stream_is_data_loss(name):
    with pytest.raises(DataLoss):
        plain(name, b"")


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_flipped_bit_is_data_loss(name):
    data = zstandard.ZstdCompressor(write_checksum=True).compress(DATA) if name == "zstd" else COMPRESSED[name]
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0x10
    if name == "lz4":  # frames without checksums: only what breaks the format is noticed
        damaged[4] ^= 0x80
    with pytest.raises(DataLoss):
        plain(name, bytes(damaged))


def test_zeros_after_a_gzip_member_are_padding():
    assert plain("gzip", COMPRESSED["gzip"] + bytes(5000)) == DATA


def test_a_skippable_frame_before_zstd_is_passed_over():
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    assert plain(DETECT, skippable + COMPRESSED["zstd"]) == DATA


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_bomb_comes_in_bounded_chunks(name):
    bomb = {"gzip": gzip.compress, "zstd": zstandard.compress, "lz4": lz4.frame.compress}[name](bytes(64 << 20))
    sizes = [len(chunk) for chunk in inflate(name, [bomb])]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= CHUNK


def test_a_layer_said_to_be_plain_is_taken_as_it_is():
    assert plain("", COMPRESSED["gzip"]) == COMPRESSED["gzip"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["gzip", "zstd", "lz4", DETECT]), st.binary(max_size=300), st.integers(1, 64))
def test_noise_raises_nothing_but_data_loss(name, noise, size):
    magic = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18"}.get(name, b"")
    for data in (noise, magic + noise):
        try:
            plain(name, data, size)
        except DataLoss:
            pass


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 22), st.booleans(), st.integers(1, 50), st.data())
def test_every_prefix_of_zstd_but_the_whole_is_truncated(data, level, checksum, size, draw):
    compressed = zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(data)
    assert plain("zstd", compressed, size) == data
    with pytest.raises(DataLoss):
        plain("zstd", compressed[: draw.draw(st.integers(0, len(compressed) - 1))], size)
