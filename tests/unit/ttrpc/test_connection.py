"""Both ends without I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pycontainerd.ttrpc.connection import ClientConnection, ServerConnection
from pycontainerd.ttrpc.errors import LocalProtocolError, RemoteProtocolError
from pycontainerd.ttrpc.frame import MAX_DATA, NO_DATA, REMOTE_CLOSED, REMOTE_OPEN, Decoder, Frame, Type, encode
from pycontainerd.ttrpc.ttrpc_pb2 import Request, Response


def request(stream: int, **fields: object) -> bytes:
    return encode(Frame(stream, Type.REQUEST, Request(**fields).SerializeToString()))


class Conversation(RuleBasedStateMachine):
    """A client and a server joined by byte pipes that deliver in arbitrary pieces and answer in any order."""

    asked = Bundle("asked")

    def __init__(self):
        super().__init__()
        self.client, self.server = ClientConnection(), ServerConnection()
        self.to_server, self.to_client = b"", b""
        self.sent: dict[int, str] = {}
        self.arrived: dict[int, str] = {}
        self.answered: dict[int, bytes] = {}
        self.delivered: dict[int, bytes] = {}

    @rule(method=st.text(max_size=5))
    def ask(self, method):
        stream, data = self.client.send(Request(service="s", method=method))
        assert stream not in self.sent
        self.sent[stream] = method
        self.to_server += data

    @rule(target=asked, size=st.integers(1, 60))
    def deliver_to_server(self, size):
        piece, self.to_server = self.to_server[:size], self.to_server[size:]
        got = list(self.server.receive(piece))
        self.arrived |= {one.stream: one.request.method for one in got}
        return [one.stream for one in got]

    @rule(streams=consumes(asked), payload=st.binary(max_size=20))
    def answer(self, streams, payload):
        for stream in reversed(streams):
            self.answered[stream] = payload
            self.to_client += self.server.respond(stream, Response(payload=payload))

    @rule(size=st.integers(1, 60))
    def deliver_to_client(self, size):
        piece, self.to_client = self.to_client[:size], self.to_client[size:]
        for one in self.client.receive(piece):
            assert one.stream not in self.delivered
            self.delivered[one.stream] = one.response.payload

    @invariant()
    def nothing_is_invented_or_mixed_up(self):
        assert self.arrived.items() <= self.sent.items()
        assert self.delivered.items() <= self.answered.items()
        assert self.server.unanswered == len(self.arrived) - len(self.answered)


TestConversation = Conversation.TestCase


def test_client_streams_are_odd_and_rise():
    client = ClientConnection()
    assert [client.send(Request())[0] for _ in range(3)] == [1, 3, 5]


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (request(2), "even stream 2"),
        (request(1) + request(1), "stream 1 after stream 1"),
        (request(5) + request(3), "stream 3 after stream 5"),
        (encode(Frame(1, Type.RESPONSE)), "a client sent a response frame"),
        (encode(Frame(1, Type.DATA)), "a client sent a data frame"),
        (encode(Frame(1, Type.REQUEST, b"\xff\xff")), "is not a ttrpc.Request"),
    ],
)
def test_a_server_blames_the_client(wire, message):
    with pytest.raises(RemoteProtocolError, match=message):
        list(ServerConnection().receive(wire))


def test_a_server_refuses_a_stream_and_overlooks_its_data():
    server = ServerConnection()
    wire = encode(Frame(1, Type.REQUEST, b"", REMOTE_OPEN)) + encode(Frame(1, Type.DATA, b"x"))
    wire += encode(Frame(1, Type.DATA, b"", REMOTE_CLOSED | NO_DATA)) + request(3, method="next")
    first, second = server.receive(wire)
    assert "streams are not supported" in first.error
    assert (second.error, second.request.method) == ("", "next")


def test_a_complaint_is_a_response_on_the_offending_stream():
    (frame,) = Decoder().feed(ServerConnection.complain(RemoteProtocolError("no", stream=4), 3))
    assert (frame.stream, frame.type) == (4, Type.RESPONSE)
    assert Response.FromString(frame.data).status.code == 3
    assert ServerConnection.complain(RemoteProtocolError("no"), 3) == b""


def test_a_call_is_answered_once():
    server = ServerConnection()
    list(server.receive(request(1)))
    server.respond(1, Response())
    with pytest.raises(LocalProtocolError, match="no call waits on stream 1"):
        server.respond(1, Response())


def test_a_response_that_is_too_long_can_be_replaced_by_an_error():
    server = ServerConnection()
    list(server.receive(request(1)))
    with pytest.raises(LocalProtocolError, match="does not fit"):
        server.respond(1, Response(payload=bytes(MAX_DATA)))
    assert server.respond(1, Response())


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(1, Type.REQUEST), "a server sent a request frame"),
        (Frame(1, Type.DATA), "a server sent a data frame"),
        (Frame(3, Type.RESPONSE), "answered on stream 3, where nothing was asked"),
        (Frame(2, Type.RESPONSE), "answered on stream 2"),
        (Frame(1, Type.RESPONSE, b"\xff\xff"), "is not a ttrpc.Response"),
    ],
)
def test_a_client_blames_the_server(frame, message):
    client = ClientConnection()
    client.send(Request())
    with pytest.raises(RemoteProtocolError, match=message):
        list(client.receive(encode(frame)))


def test_a_connection_ends_when_its_numbers_do():
    client = ClientConnection()
    client._next = 2**32 - 1
    assert client.send(Request())[0] == 2**32 - 1
    with pytest.raises(LocalProtocolError, match="no stream number left"):
        client.send(Request())


@given(st.binary(max_size=300))
def test_arbitrary_bytes_at_either_end_are_read_or_blamed_on_the_peer(wire):
    for end in (ServerConnection(), ClientConnection()):
        try:
            list(end.receive(wire))
        except RemoteProtocolError:
            pass
