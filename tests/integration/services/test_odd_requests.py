"""Every RPC of the API, with nothing and with nonsense: a clear answer, never an internal error, and nothing left."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from pycontainerd.api import services
from pycontainerd.server.services import PLUGINS
from pycontainerd.testing.daemon import Daemon

pytestmark = pytest.mark.root
for _module in pkgutil.walk_packages(services.__path__, f"{services.__name__}."):
    if _module.name.endswith("_pb2"):
        importlib.import_module(_module.name)

SERVICES = sorted(name for name in PLUGINS if name.startswith("containerd.services."))
METHODS = [method for name in SERVICES for method in descriptor_pool.Default().FindServiceByName(name).methods]
ENDLESS = {"Subscribe", "Events", "Wait"}  # answer only when something happens
NAMESPACE = [("containerd-namespace", "odd")]
BROKEN = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
TEXTS = ["../../etc", "\0", "x" * 70_000, "ä/%s\n"]


@pytest.fixture
def channel(our_containerd_module: Daemon) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"unix:{our_containerd_module.address}") as made:
        # A daemon makes its id when it is asked for it: before anything is compared.
        made.unary_unary("/containerd.services.introspection.v1.Introspection/Server")(b"", timeout=20)
        yield made


def code(channel: grpc.Channel, method: MethodDescriptor, request: Any, metadata: Any = NAMESPACE) -> grpc.StatusCode:
    path = f"/{method.containing_service.full_name}/{method.name}"
    data = request.SerializeToString()
    try:
        if method.client_streaming:
            list(channel.stream_stream(path)(iter([data]), metadata=metadata, timeout=20))
        elif method.server_streaming:
            list(channel.unary_stream(path)(data, metadata=metadata, timeout=20))
        else:
            channel.unary_unary(path)(data, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def filled(descriptor: Any, text: str, depth: int = 3) -> Any:
    """A message with ``text`` in every string and -1 or the largest number in every number."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if field.type == FieldDescriptor.TYPE_STRING:
            value: Any = text
        elif field.type == FieldDescriptor.TYPE_MESSAGE and depth and not is_map:
            value = filled(field.message_type, text, depth - 1)
        elif field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32):
            value = -1
        elif field.cpp_type in (FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_UINT32):
            value = 2**32 - 1
        else:
            continue
        if field.is_repeated:
            getattr(message, field.name).append(value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


@pytest.mark.parametrize("method", [one for one in METHODS if one.name not in ENDLESS], ids=name)
def test_an_empty_request_has_a_clear_answer(method: MethodDescriptor, channel: grpc.Channel) -> None:
    empty = message_factory.GetMessageClass(method.input_type)()
    assert code(channel, method, empty) not in BROKEN
    assert code(channel, method, empty, []) not in BROKEN


@pytest.mark.parametrize("method", [one for one in METHODS if one.name not in ENDLESS], ids=name)
def test_nonsense_has_a_clear_answer(
    method: MethodDescriptor, channel: grpc.Channel, our_containerd_module: Daemon
) -> None:
    before, leftovers = set(our_containerd_module.tree()), our_containerd_module.leftovers()
    for text in TEXTS:
        assert code(channel, method, filled(method.input_type, text)) not in BROKEN, text[:20]
    # Something may be gone: a synchronous deletion collects what earlier requests have left unused.
    assert set(our_containerd_module.tree()) - before == set()
    assert our_containerd_module.leftovers() == leftovers
    assert "Traceback" not in our_containerd_module.log()
