"""The same questions to our daemon and to the Go containerd: the same status codes and the same answers."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory

from pycontainerd.api import services

pytestmark = [pytest.mark.root, pytest.mark.interop]

_spec = importlib.util.spec_from_file_location("parity_script", Path(__file__).with_name("parity_script.py"))
assert _spec is not None
assert _spec.loader is not None
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)
for _module in pkgutil.walk_packages(services.__path__, f"{services.__name__}."):
    if _module.name.endswith("_pb2"):
        importlib.import_module(_module.name)
importlib.import_module("grpc_health.v1.health_pb2")

# Where the two differ, and why that is meant.
DIFFERENT: Mapping[str, str] = {
    "labels of a namespace by path": "the Go containerd leaves the answer empty, ours is the namespace as it is now",
}


def tell(channel: grpc.Channel, method: str, request: dict[str, Any], namespace: str) -> tuple[str, Any]:
    """The status code and, where it is OK, the answer without what differs from run to run."""
    found = descriptor_pool.Default().FindMethodByName(method)
    service, _, name = method.rpartition(".")
    make = channel.unary_stream if found.server_streaming else channel.unary_unary
    reply = message_factory.GetMessageClass(found.output_type)
    call = make(
        f"/{service}/{name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=reply.FromString
    )
    message = message_factory.GetMessageClass(found.input_type)(**request)
    metadata = [("containerd-namespace", namespace.encode().decode("latin-1"))] if namespace else []
    try:
        answer = call(message, metadata=metadata, timeout=30)
        return "OK", normal([to_dict(one) for one in answer] if found.server_streaming else to_dict(answer))
    except grpc.RpcError as error:
        return error.code().name, None


def to_dict(message: Any) -> Any:
    """As JSON; the contents of an Any as its bytes, for its type may be known to nobody."""
    fields: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            fields[field.name] = "a time"
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"].message_type
            fields[field.name] = {key: to_dict(value[key]) if inner else value[key] for key in value}
        elif field.message_type is not None and field.is_repeated:
            fields[field.name] = [to_dict(one) for one in value]
        elif field.message_type is not None:
            fields[field.name] = to_dict(value)
        else:
            fields[field.name] = list(value) if field.is_repeated else value
    return fields


def normal(value: Any) -> Any:
    """Lists in one order: containerd promises none."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    return sorted((normal(item) for item in value), key=repr) if isinstance(value, list) else value


def play(address: str) -> dict[str, tuple[str, Any]]:
    with grpc.insecure_channel(f"unix:{address}") as channel:
        return {name: tell(channel, method, request, namespace) for name, method, request, namespace in script.STEPS}


@pytest.fixture(scope="module")
def ours(our_containerd_module: Any) -> dict[str, tuple[str, Any]]:
    return play(our_containerd_module.address)


@pytest.fixture(scope="module")
def theirs(debian_containerd_module: Any) -> dict[str, tuple[str, Any]]:
    return play(debian_containerd_module.address)


def test_the_names_of_the_questions_are_unique() -> None:
    names = [step[0] for step in script.STEPS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [step[0] for step in script.STEPS])
def test_both_daemons_answer_alike(name: str, ours: Any, theirs: Any) -> None:
    if name in DIFFERENT:
        assert ours[name] != theirs[name], f"no longer different, although {DIFFERENT[name]}"
    else:
        assert ours[name] == theirs[name]
