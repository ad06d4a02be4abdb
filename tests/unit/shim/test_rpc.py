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
from pycontainerd.shim.rpc import Client, Server
from pycontainerd.ttrpc.client import Client as DaemonClient
from pycontainerd.ttrpc.sockets import listener

TASK = "containerd.task.v3.Task"


class Tasks:
    SERVICE = TASK

    def __init__(self):
        self.gate = loop.Event()
        self.cancelled = 0

    async def Connect(self, request, call):
        return pb.ConnectResponse(version=request.id + call.metadata.get("who", ""))

    async def Wait(self, request, call):
        try:
            await self.gate.wait()
        except loop.Cancelled:
            self.cancelled += 1
            raise
        return pb.WaitResponse(exit_status=7)

    async def State(self, request, call):
        raise NotFound(f"task {request.id!r}: not found", hint="look elsewhere")

    async def Kill(self, request, call):
        raise RuntimeError("a bug")

    def Pids(self, request, call):
        return pb.PidsResponse(processes=[{"pid": 5}])


@pytest.fixture
def path():
    with loop.fresh(), tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as directory:
        yield f"{directory}/s"


def serving(path, body):
    """Run ``body(service, server)`` with a server that listens at ``path``."""

    async def inside():
        service = Tasks()
        server = Server([service])
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
        answer = await client.call(
            TASK, "Connect", pb.ConnectRequest(id="x"), pb.ConnectResponse, metadata={"who": "me"}
        )
        assert answer.version == "xme"
        assert (await client.call(TASK, "Pids", pb.PidsRequest(), pb.PidsResponse)).processes[0].pid == 5
        for method, kind in (("State", NotFound), ("Kill", Internal), ("Nonsense", NotImplemented)):
            with pytest.raises(kind):
                await client.call(TASK, method, pb.StateRequest(id="t"), Empty)
        client.close()

    serving(path, body)


def test_many_calls_at_once_and_large_ones_arrive_whole(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        texts = [str(number) * 20_000 for number in range(50)]
        calls = [
            loop.spawn(client.call(TASK, "Connect", pb.ConnectRequest(id=text), pb.ConnectResponse)) for text in texts
        ]
        for text, call in zip(texts, calls, strict=True):
            assert (await call).version == text
        client.close()

    serving(path, body)


def test_a_deadline_is_kept_at_both_ends(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        with pytest.raises(DeadlineExceeded):
            await client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse, timeout=0.02)
        await loop.sleep(0.05)
        client.close()
        return service.cancelled

    assert serving(path, body) == 1


def test_who_hangs_up_has_its_calls_cancelled(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        call = loop.spawn(client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse))
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
        assert (await client.call(TASK, "Connect", pb.ConnectRequest(id="y"), pb.ConnectResponse)).version == "y"
        client.close()

    serving(path, body)


def test_nobody_listening_is_unavailable(path):
    with pytest.raises(Unavailable, match="it"):
        Client.connect(path, name="it")


def test_shutdown_lets_calls_end_and_refuses_new_ones(path):
    async def body(service, server):
        client = Client.connect(path, name="it")
        call = loop.spawn(client.call(TASK, "Wait", pb.WaitRequest(), pb.WaitResponse))
        await loop.sleep(0.02)
        ending = loop.spawn(server.shutdown(grace=5))
        await loop.sleep(0.02)
        with pytest.raises(Unavailable):
            await client.call(TASK, "Connect", pb.ConnectRequest(), pb.ConnectResponse)
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
