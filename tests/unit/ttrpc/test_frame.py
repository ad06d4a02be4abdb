"""Framing: bytes to frames and back, and whose fault it is when that fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontainerd.ttrpc.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from pycontainerd.ttrpc.frame import HEADER, MAX_DATA, Decoder, Frame, Type, encode

frames = st.builds(
    Frame,
    stream=st.integers(1, 2**32 - 1),
    type=st.sampled_from(Type),
    data=st.binary(max_size=300),
    flags=st.integers(0, 255),
)


def test_the_header_is_ten_bytes_as_in_the_specification():
    assert encode(Frame(7, Type.REQUEST, b"abc")) == b"\0\0\0\x03\0\0\0\x07\x01\0abc"


@given(st.lists(frames, max_size=8), st.data())
def test_frames_survive_any_cutting_of_the_byte_stream(sent, data):
    wire = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    decoder = Decoder()
    received = []
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        received += decoder.feed(wire[begin:end])
    assert received == sent
    assert decoder.pending == 0


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_frames_or_blame_the_peer(wire):
    decoder = Decoder()
    try:
        for frame in decoder.feed(wire):
            assert frame.type in Type
    except RemoteProtocolError as exc:
        assert exc.code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
    assert decoder.pending <= len(wire)


def test_the_longest_message_fits_and_one_byte_more_is_our_fault():
    assert len(encode(Frame(1, Type.DATA, bytes(MAX_DATA)))) == MAX_DATA + 10
    with pytest.raises(LocalProtocolError, match="does not fit") as caught:
        encode(Frame(1, Type.DATA, bytes(MAX_DATA + 1)))
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_an_oversize_frame_is_refused_on_its_header_alone():
    with pytest.raises(RemoteProtocolError, match="announced a message of 4194305 bytes") as caught:
        list(Decoder().feed(HEADER.pack(MAX_DATA + 1, 9, 1, 0)))
    assert caught.value.stream == 9
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_frames_before_a_bad_one_are_delivered():
    decoder = Decoder()
    got = []
    with pytest.raises(RemoteProtocolError, match="unknown type 9"):
        for frame in decoder.feed(encode(Frame(1, Type.REQUEST, b"x")) + HEADER.pack(0, 3, 9, 0)):
            got.append(frame)  # noqa: PERF402 - a comprehension would lose them
    assert got == [Frame(1, Type.REQUEST, b"x")]


@pytest.mark.parametrize("stream", [0, -1, 2**32])
def test_a_stream_number_out_of_range_is_our_fault(stream):
    with pytest.raises(LocalProtocolError, match="out of range"):
        encode(Frame(stream, Type.REQUEST))


def test_a_protocol_error_always_blames_somebody():
    with pytest.raises(TypeError):
        ProtocolError("who?")
