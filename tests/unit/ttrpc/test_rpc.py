"""Client and server on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import threading

import pytest
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    NotImplemented,
    ResourceExhausted,
    Unavailable,
)
from pycontainerd.ttrpc.client import Client
from pycontainerd.ttrpc.frame import HEADER, REMOTE_OPEN, Decoder, Frame, Type, encode
from pycontainerd.ttrpc.server import Server, listener
from pycontainerd.ttrpc.ttrpc_pb2 import Request, Response

TASK = "containerd.task.v3.Task"


class Tasks:
    SERVICE = TASK

    def __init__(self):
        self.gate = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls = []

    async def Connect(self, request, call):
        self.calls.append((request.id, dict(call.metadata)))
        return pb.ConnectResponse(version=request.id)

    def Pids(self, request, call):
        return pb.PidsResponse(processes=[{"pid": threading.get_native_id()}])

    async def Wait(self, request, call):
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return pb.WaitResponse(exit_status=7)

    async def State(self, request, call):
        raise NotFound(f"task {request.id!r}: not found", hint="look elsewhere")

    async def Kill(self, request, call):
        raise ZeroDivisionError("a bug")

    async def Stats(self, request, call):
        return pb.StatsResponse(stats={"value": bytes(5 << 20)})

    async def Create(self, request, call):
        raise AlreadyExists("there")


@contextlib.asynccontextmanager
async def pair(service, **options):
    ours, theirs = socket.socketpair()
    server = Server([service])
    await server.attach(ours)
    client = await Client.attach(theirs, name="shim x", **options)
    try:
        yield client, server
    finally:
        client.close()
        await server.shutdown(1)
        await client.wait_closed()


def run(scenario):
    async def main():
        async with pair(tasks := Tasks()) as (client, server):
            await scenario(client, server, tasks)

    asyncio.run(main())


def test_a_coroutine_method_answers_with_the_metadata_it_got():
    async def scenario(client, server, tasks):
        meta = {"Containerd-Namespace-TTRPC": "k8s.io", "a": "b"}
        got = await client.call(TASK, "Connect", pb.ConnectRequest(id="c"), pb.ConnectResponse, metadata=meta)
        assert got.version == "c"
        headers = {"containerd-namespace-ttrpc": "k8s.io", "containerd-namespace": "k8s.io", "a": "b"}
        assert tasks.calls == [("c", headers)]

    run(scenario)


def test_a_plain_method_runs_in_another_thread():
    async def scenario(client, server, tasks):
        got = await client.call(TASK, "Pids", pb.PidsRequest(), pb.PidsResponse)
        assert got.processes[0].pid != threading.get_native_id()

    run(scenario)


def test_calls_share_a_connection_and_finish_in_any_order():
    async def scenario(client, server, tasks):
        waiting = asyncio.ensure_future(client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse))
        many = [client.call(TASK, "Connect", pb.ConnectRequest(id=str(i)), pb.ConnectResponse) for i in range(200)]
        assert [one.version for one in await asyncio.gather(*many)] == [str(i) for i in range(200)]
        assert not waiting.done()
        tasks.gate.set()
        assert (await waiting).exit_status == 7

    run(scenario)


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        ("State", NotFound, r"task 'c': not found \(look elsewhere\)"),
        ("Create", AlreadyExists, "there"),
        ("Kill", Internal, "ZeroDivisionError: a bug"),
        ("Delete", NotImplemented, "has no unary method 'Delete'"),
        ("Stats", ResourceExhausted, "the response: a message of 52428"),
    ],
)
def test_errors_of_the_family_cross_the_wire(method, error, message, caplog):
    async def scenario(client, server, tasks):
        with pytest.raises(error, match=message):
            await client.call(TASK, method, pb.StateRequest(id="c"), Empty)

    with caplog.at_level(logging.CRITICAL, "containerd.ttrpc"):
        run(scenario)


def test_an_unknown_service_is_named_with_the_known_ones():
    async def scenario(client, server, tasks):
        with pytest.raises(NotImplemented, match=f"unknown service 'nope', this socket serves {TASK}"):
            await client.call("nope", "Nope", Empty(), Empty)

    run(scenario)


def test_a_payload_that_is_not_the_message_is_an_invalid_argument():
    async def scenario(client, server, tasks):
        class Lie:
            def SerializeToString(self):
                return b"\x0a\xff"

        with pytest.raises(InvalidArgument, match="the payload is no ConnectRequest"):
            await client.call(TASK, "Connect", Lie(), pb.ConnectResponse)

    run(scenario)


def test_a_request_over_the_limit_is_refused_before_it_is_sent():
    async def scenario(client, server, tasks):
        with pytest.raises(ResourceExhausted, match=r"cannot ask shim x for .*the limit is 4194304"):
            await client.call(TASK, "Connect", pb.ConnectRequest(id="x" * (5 << 20)), pb.ConnectResponse)
        assert (await client.call(TASK, "Connect", pb.ConnectRequest(id="c"), pb.ConnectResponse)).version == "c"

    run(scenario)


def test_a_deadline_is_kept_by_the_client_and_told_to_the_server():
    async def scenario(client, server, tasks):
        with pytest.raises(DeadlineExceeded, match=r"shim x did not answer .*Wait within 0.05 s|did not finish within"):
            await client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse, timeout=0.05)
        await tasks.cancelled.wait()
        assert (await client.call(TASK, "Connect", pb.ConnectRequest(id="c"), pb.ConnectResponse)).version == "c"
        with pytest.raises(DeadlineExceeded, match="no time left"):
            await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse, timeout=0)

    run(scenario)


def test_a_cancelled_call_is_forgotten_and_its_late_answer_ignored():
    async def scenario(client, server, tasks):
        waiting = asyncio.ensure_future(client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse))
        await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        tasks.gate.set()
        assert (await client.call(TASK, "Connect", pb.ConnectRequest(id="c"), pb.ConnectResponse)).version == "c"
        assert not client._waiting

    run(scenario)


def test_a_client_that_hangs_up_has_its_calls_cancelled():
    async def scenario(client, server, tasks):
        waiting = asyncio.ensure_future(client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse))
        await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse)
        client.close()
        with pytest.raises(Unavailable, match="shim x went away before it answered"):
            await waiting
        await tasks.cancelled.wait()
        with pytest.raises(Unavailable, match=r"cannot ask shim x for .*Connect"):
            await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse)

    run(scenario)


def test_shutdown_lets_running_calls_finish_and_takes_no_new_ones():
    async def scenario(client, server, tasks):
        waiting = asyncio.ensure_future(client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse))
        await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse)
        stopping = asyncio.ensure_future(server.shutdown(30))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="is shutting down"):
            await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse)
        tasks.gate.set()
        assert (await waiting).exit_status == 7
        await stopping
        await client.wait_closed()

    run(scenario)


def test_shutdown_cancels_what_does_not_finish_in_time():
    async def scenario(client, server, tasks):
        waiting = asyncio.ensure_future(client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse))
        await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse)
        await server.shutdown(0)
        with pytest.raises(Unavailable):
            await waiting
        await tasks.cancelled.wait()

    run(scenario)


def test_the_end_of_a_connection_is_told_once():
    async def main():
        ended = []
        async with pair(Tasks(), on_close=lambda: ended.append(1)) as (client, server):
            await server.shutdown(0)
            await client.wait_closed()
        assert ended == [1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wire", "code", "message"),
    [
        (HEADER.pack(5 << 20, 1, 1, 0), 8, "announced a message of 5242880"),
        (encode(Frame(2, Type.REQUEST)), 3, "even stream"),
        (HEADER.pack(0, 1, 77, 0), 3, "unknown type 77"),
    ],
)
def test_a_server_tells_a_client_that_breaks_the_protocol_and_hangs_up(wire, code, message, caplog):
    async def main():
        ours, theirs = socket.socketpair()
        server = Server([Tasks()])
        await server.attach(ours)
        reader, writer = await asyncio.open_unix_connection(sock=theirs)
        writer.write(wire)
        (frame,) = Decoder().feed(await reader.read())
        assert Response.FromString(frame.data).status.code == code
        assert message in Response.FromString(frame.data).status.message
        writer.close()
        await writer.wait_closed()
        await server.shutdown(0)

    with caplog.at_level(logging.CRITICAL, "containerd.ttrpc"):
        asyncio.run(main())


def test_a_stream_is_refused_and_the_connection_lives():
    async def main():
        ours, theirs = socket.socketpair()
        server = Server([Tasks()])
        await server.attach(ours)
        reader, writer = await asyncio.open_unix_connection(sock=theirs)
        body = Request(service=TASK, method="Connect").SerializeToString()
        writer.write(encode(Frame(1, Type.REQUEST, body, REMOTE_OPEN)) + encode(Frame(3, Type.REQUEST, body)))
        decoder, answers = Decoder(), {}
        while len(answers) < 2:
            answers |= {frame.stream: Response.FromString(frame.data) for frame in decoder.feed(await reader.read(999))}
        assert answers[1].status.code == 12
        assert answers[3].status.code == 0
        writer.close()
        await writer.wait_closed()
        await server.shutdown(0)

    asyncio.run(main())


def test_a_client_closes_a_connection_whose_server_breaks_the_protocol(caplog):
    async def main():
        ours, theirs = socket.socketpair()
        client = await Client.attach(theirs, name="shim x")
        asking = asyncio.ensure_future(client.call(TASK, "Connect", Empty(), Empty))
        _, writer = await asyncio.open_unix_connection(sock=ours)
        writer.write(encode(Frame(1, Type.DATA)))
        with pytest.raises(Unavailable, match="it broke the protocol: a server sent a data frame"):
            await asking
        writer.close()
        await client.wait_closed()

    with caplog.at_level(logging.CRITICAL, "containerd.ttrpc"):
        asyncio.run(main())


def test_a_listening_socket_has_its_mode_before_it_listens(tmp_path):
    async def main():
        path = str(tmp_path / "s")
        server = Server([Tasks()])
        await server.serve(listener(path, mode=0o660))
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        client = await Client.connect(path)
        await client.call(TASK, "Connect", Empty(), Empty)
        await server.shutdown(0)
        await client.wait_closed()
        with pytest.raises(Unavailable, match=r"cannot connect to shim y at .*refused"):
            await Client.connect(path, name="shim y")

    asyncio.run(main())


def test_an_unbindable_path_is_an_error_of_the_family(tmp_path):
    with pytest.raises(ContainerdError, match=r"cannot listen on .*No such file"):
        listener(str(tmp_path / "missing" / "s"))
