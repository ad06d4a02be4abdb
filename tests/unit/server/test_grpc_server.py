"""The gRPC server with services of every shape, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.services.content.v1 import content_pb2
from pycontainerd.api.services.namespaces.v1 import namespace_pb2
from pycontainerd.contracts.errors import FailedPrecondition, NotFound
from pycontainerd.contracts.service import Call
from pycontainerd.server.grpc_server import Dispatcher, GrpcServer
from pycontainerd.server.sockets import prepare_socket

NAMESPACES = "/containerd.services.namespaces.v1.Namespaces"
CONTENT = "/containerd.services.content.v1.Content"


class Namespaces:
    SERVICE = "containerd.services.namespaces.v1.Namespaces"

    def Get(self, request: namespace_pb2.GetNamespaceRequest, call: Call) -> namespace_pb2.GetNamespaceResponse:
        if request.name == "missing":
            raise NotFound("namespace 'missing': not found", hint="create it")
        if request.name == "bug":
            raise ZeroDivisionError("one over none")
        return namespace_pb2.GetNamespaceResponse(namespace=namespace_pb2.Namespace(name=call.namespace))

    async def Delete(self, request: namespace_pb2.DeleteNamespaceRequest, call: Call) -> Empty:
        await asyncio.sleep(0)
        return Empty()


class Content:
    SERVICE = "containerd.services.content.v1.Content"

    def __init__(self) -> None:
        self.closed = False

    def Read(self, request: content_pb2.ReadContentRequest, call: Call) -> Iterator[content_pb2.ReadContentResponse]:
        try:
            for number in range(3):
                yield content_pb2.ReadContentResponse(offset=number)
            if request.digest == "bad":
                raise FailedPrecondition("no more")
        finally:
            self.closed = True

    async def Write(
        self, requests: AsyncIterator[content_pb2.WriteContentRequest], call: Call
    ) -> AsyncIterator[content_pb2.WriteContentResponse]:
        async for request in requests:
            yield content_pb2.WriteContentResponse(offset=request.offset + 1)


def served(tmp_path: Path, body: Callable[[grpc.aio.Channel, Content], Awaitable[None]]) -> None:
    async def run() -> None:
        content = Content()
        with ThreadPoolExecutor(2) as pool:
            dispatcher = Dispatcher(
                {"namespaces": Namespaces(), "content": content},
                pool,
                lambda path: f"{path} is missing because of a test",
            )
            server = GrpcServer(dispatcher, max_receive=1 << 20, max_send=1 << 20)
            server.listen_unix(str(tmp_path / "s.sock"))
            await server.start()
            try:
                async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s.sock") as channel:
                    await body(channel, content)
            finally:
                await server.stop(0.1)

    asyncio.run(run())


def get(channel: grpc.aio.Channel, name: str, namespace: str = "here") -> Awaitable[bytes]:
    call = channel.unary_unary(f"{NAMESPACES}/Get")
    metadata = [("containerd-namespace", namespace)] if namespace else []
    return call(namespace_pb2.GetNamespaceRequest(name=name).SerializeToString(), metadata=metadata)


def test_a_plain_method_answers_with_the_callers_namespace(tmp_path: Path) -> None:
    async def body(channel: grpc.aio.Channel, content: Content) -> None:
        answer = namespace_pb2.GetNamespaceResponse.FromString(await get(channel, "x"))
        assert answer.namespace.name == "here"

    served(tmp_path, body)


@pytest.mark.parametrize(
    ("name", "namespace", "code", "text"),
    [
        ("missing", "here", grpc.StatusCode.NOT_FOUND, "namespace 'missing': not found (create it)"),
        ("bug", "here", grpc.StatusCode.INTERNAL, "ZeroDivisionError: one over none"),
        ("x", "", grpc.StatusCode.FAILED_PRECONDITION, "namespace is required"),
        ("x", "../up", grpc.StatusCode.INVALID_ARGUMENT, "namespace '../up' is not valid"),
        ("x", "a" * 80, grpc.StatusCode.INVALID_ARGUMENT, "80 characters long"),
    ],
)
def test_errors_become_status_codes_with_their_message(
    tmp_path: Path, name: str, namespace: str, code: grpc.StatusCode, text: str
) -> None:
    async def body(channel: grpc.aio.Channel, content: Content) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(channel, name, namespace)
        assert caught.value.code() is code
        assert text in (caught.value.details() or "")

    served(tmp_path, body)


def test_a_plain_generator_is_streamed_and_closed(tmp_path: Path) -> None:
    async def body(channel: grpc.aio.Channel, content: Content) -> None:
        call = channel.unary_stream(f"{CONTENT}/Read")(b"")
        offsets = [content_pb2.ReadContentResponse.FromString(data).offset async for data in call]
        assert offsets == [0, 1, 2]
        assert content.closed

    served(tmp_path, body)


def test_an_error_after_the_first_answers_ends_the_stream_with_its_status(tmp_path: Path) -> None:
    async def body(channel: grpc.aio.Channel, content: Content) -> None:
        request = content_pb2.ReadContentRequest(digest="bad").SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            [data async for data in channel.unary_stream(f"{CONTENT}/Read")(request)]
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION

    served(tmp_path, body)


def test_both_sides_can_stream(tmp_path: Path) -> None:
    async def body(channel: grpc.aio.Channel, content: Content) -> None:
        call = channel.stream_stream(f"{CONTENT}/Write")()
        for number in (4, 9):
            await call.write(content_pb2.WriteContentRequest(offset=number).SerializeToString())
            assert content_pb2.WriteContentResponse.FromString(await call.read()).offset == number + 1
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF

    served(tmp_path, body)


@pytest.mark.parametrize("path", [f"{NAMESPACES}/List", "/containerd.services.tasks.v1.Tasks/List", "/no.Such/Method"])
def test_what_is_not_served_is_unimplemented_with_the_reason(tmp_path: Path, path: str) -> None:
    async def body(channel: grpc.aio.Channel, content: Content) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == f"{path} is missing because of a test"

    served(tmp_path, body)


def test_the_socket_is_for_its_owner_and_group_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def body(channel: grpc.aio.Channel, content: Content) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660

    served(tmp_path, body)
    assert not path.exists()


def test_a_stale_socket_is_replaced_and_a_live_one_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen(1)
        with pytest.raises(FailedPrecondition, match="another process is listening"):
            prepare_socket(path)
    prepare_socket(path)
    assert not os.path.exists(path)
