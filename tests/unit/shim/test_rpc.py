"""ttrpc on the shim's loop, against itself and against the daemon's end."""

import asyncio
import os
import socket
import tempfile
import threading

import pytest
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.errors import (
    ContainerdError,
    DeadlineExceeded,
    Internal,
    NotFound,
    NotImplemented,
    Unavailable,
)
from pycontainerd.shim import loop
from pycontainerd.shim import messages as m
from pycontainerd.shim.rpc import Client, Server
from pycontainerd.ttrpc.client import Client as DaemonClient
from pycontainerd.ttrpc.frame import REMOTE_OPEN, Decoder, Frame, Type, encode
from pycontainerd.ttrpc.sockets import listener
from pycontainerd.ttrpc.ttrpc_pb2 import Request, Response

TASK = "containerd.task.v3.Task"


class Tasks:
    def __init__(self):
        self.gate = loop.Event()
        self.cancelled = 0
        self.methods = {
            f"{TASK}/Connect": (m.CONNECT_REQUEST, m.CONNECT_RESPONSE, self.connect),
            f"{TASK}/Wait": (m.WAIT_REQUEST, m.WAIT_RESPONSE, self.wait),
            f"{TASK}/State": (m.STATE_REQUEST, m.STATE_RESPONSE, self.state),
            f"{TASK}/Kill": (m.KILL_REQUEST, m.EMPTY, self.kill),
            f"{TASK}/Pids": (m.PIDS_REQUEST, m.PIDS_RESPONSE, self.pids),
        }

    async def connect(self, request):
        return {"version": request["id"]}

    async def wait(self, request):
        try:
            await self.gate.wait()
        except loop.Cancelled:
            self.cancelled += 1
            raise
        return {"exit_status": 7}

    async def state(self, request):
        raise NotFound(f"task {request['id']!r}: not found", hint="look elsewhere")

    async def kill(self, request):
        raise RuntimeError("a bug")

    async def pids(self, request):
        return {"processes": [{"pid": 5}]}


async def ask(client, method, request, response, **options):
    """A call with the messages of the protobuf package."""
    return response.FromString(await client.call(TASK, method, request.SerializeToString(), **options))


@pytest.fixture
def path():
    with loop.fresh(), tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as directory:
        yield f"{directory}/s"


def serving(path, body):
    """Run ``body(service, server)`` with a server that listens at ``path``."""

    async def inside():
        service = Tasks()
        server = Server(service.methods)
        bound = listener(path)
        bound.listen(8)
        server.serve(bound)
        try:
            return await body(service, server)
        finally:
            await server.shutdown(grace=0)

    return loop.run(inside())


def test_calls_are_answered_with_results_and_typed_errors(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        assert (await ask(client, "Connect", pb.ConnectRequest(id="x"), pb.ConnectResponse)).version == "x"
        assert (await ask(client, "Pids", pb.PidsRequest(), pb.PidsResponse)).processes[0].pid == 5
        for method, kind in (("State", NotFound), ("Kill", Internal), ("Nonsense", NotImplemented)):
            with pytest.raises(kind):
                await ask(client, method, pb.StateRequest(id="t"), Empty)
        client.close()

    serving(path, body)


def test_many_calls_at_once_and_large_ones_arrive_whole(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        texts = [str(number) * 20_000 for number in range(50)]
        calls = [loop.spawn(ask(client, "Connect", pb.ConnectRequest(id=text), pb.ConnectResponse)) for text in texts]
        for text, call in zip(texts, calls, strict=True):
            assert (await call).version == text
        client.close()

    serving(path, body)


def test_a_deadline_is_kept_at_both_ends(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        with pytest.raises(DeadlineExceeded):
            await ask(client, "Wait", pb.WaitRequest(), pb.WaitResponse, timeout=0.02)
        await loop.sleep(0.05)
        client.close()
        return service.cancelled

    assert serving(path, body) == 1


def test_who_hangs_up_has_its_calls_cancelled(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        call = loop.spawn(ask(client, "Wait", pb.WaitRequest(), pb.WaitResponse))
        await loop.sleep(0.02)
        client.close()
        with pytest.raises(Unavailable):
            await call
        await loop.sleep(0.02)
        return service.cancelled

    assert serving(path, body) == 1


def test_garbage_ends_the_connection_and_nothing_else(path):
    async def body(service, server):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.send(os.urandom(100))
            await loop.sleep(0.02)
        client = Client.connect(path, name="it")
        assert (await ask(client, "Connect", pb.ConnectRequest(id="y"), pb.ConnectResponse)).version == "y"
        client.close()

    serving(path, body)


def test_frames_that_break_the_protocol_end_the_connection_with_the_reason(path):
    request = Request(service=TASK, method="Connect", payload=pb.ConnectRequest(id="x").SerializeToString())
    good = request.SerializeToString()

    def told(*frames):
        async def body(service, server):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.setblocking(False)
                for frame in frames:
                    sock.send(encode(frame))
                await loop.sleep(0.02)
                decoder = Decoder()
                answers = [Response.FromString(frame.data) for frame in decoder.feed(sock.recv(1 << 16))]
                try:
                    ended = sock.recv(1) == b""
                except BlockingIOError:
                    ended = False
                return answers[-1].status.code, ended

        try:
            return serving(path, body)
        finally:
            os.unlink(path)

    assert told(Frame(1, Type.REQUEST, good)) == (0, False)
    assert told(Frame(1, Type.REQUEST, good, REMOTE_OPEN), Frame(1, Type.DATA, b"x")) == (12, False)
    for frames in (
        [Frame(2, Type.REQUEST, good)],
        [Frame(3, Type.REQUEST, good), Frame(1, Type.REQUEST, good)],
        [Frame(1, Type.RESPONSE, good)],
        [Frame(1, Type.REQUEST, b"\xff")],
    ):
        assert told(*frames) == (3, True)


def test_nobody_listening_is_unavailable(path):
    with pytest.raises(Unavailable, match="it"):
        Client.connect(path, name="it")


def test_shutdown_lets_calls_end_and_refuses_new_ones(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        call = loop.spawn(ask(client, "Wait", pb.WaitRequest(), pb.WaitResponse))
        await loop.sleep(0.02)
        ending = loop.spawn(server.shutdown(grace=5))
        await loop.sleep(0.02)
        with pytest.raises(Unavailable):
            await ask(client, "Connect", pb.ConnectRequest(), pb.ConnectResponse)
        service.gate.set()
        assert (await call).exit_status == 7
        await ending

    serving(path, body)


def test_the_daemons_client_understands_it(path):
    results = []

    def daemon():
        async def ask():
            client = await DaemonClient.connect(path)
            try:
                results.append(
                    (await client.call(TASK, "Connect", pb.ConnectRequest(id="z"), pb.ConnectResponse)).version
                )
                await client.call(TASK, "State", pb.StateRequest(id="t"), pb.StateResponse, timeout=5)
            except ContainerdError as exc:
                results.append(type(exc).__name__)
            finally:
                client.close()

        asyncio.run(ask())

    async def body(service, server):
        thread = threading.Thread(target=daemon)
        thread.start()
        while thread.is_alive():
            await loop.sleep(0.01)

    serving(path, body)
    assert results == ["z", "NotFound"]
