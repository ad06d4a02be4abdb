"""The shim's own encoding of messages, against the protobuf package and the .proto files."""

from __future__ import annotations

import importlib
import struct

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.shim import messages, metrics
from pycontainerd.shim.wire import BOOL, BYTES, DOUBLE, NUMBER, TEXT, Message

for _module in (
    "api.runtime.task.v2.shim_pb2",
    "api.events.task_pb2",
    "api.services.ttrpc.events.v1.events_pb2",
    "api.types.runc.options.oci_pb2",
    "api.types.runtimeoptions.v1.api_pb2",
    "api.cgroups.v1.metrics_pb2",
    "api.cgroups.v2.metrics_pb2",
    "api.runtime.bootstrap.v1.bootstrap_pb2",
    "api.types.introspection_pb2",
    "ttrpc.ttrpc_pb2",
):
    importlib.import_module(f"pycontainerd.{_module}")

KINDS = {
    FieldDescriptor.TYPE_STRING: TEXT,
    FieldDescriptor.TYPE_BYTES: BYTES,
    FieldDescriptor.TYPE_BOOL: BOOL,
    FieldDescriptor.TYPE_DOUBLE: DOUBLE,
    FieldDescriptor.TYPE_UINT32: NUMBER,
    FieldDescriptor.TYPE_UINT64: NUMBER,
    FieldDescriptor.TYPE_INT32: NUMBER,
    FieldDescriptor.TYPE_INT64: NUMBER,
    FieldDescriptor.TYPE_ENUM: NUMBER,
}
TABLES = [
    value for module in (messages, metrics) for value in vars(module).values() if isinstance(value, Message)
]  # fmt: skip


def declared(name):
    return descriptor_pool.Default().FindMessageTypeByName(name).fields_by_name


@pytest.mark.parametrize("message", TABLES, ids=lambda message: message.name)
def test_every_table_is_as_the_proto_file_says(message):
    for name in {message.name, message.name.replace("task.v3", "task.v2")}:
        fields = declared(name)
        for field, (number, kind) in message.fields.items():
            there = fields[field]
            assert there.number == number
            assert there.is_repeated == isinstance(kind, list)
            one = kind[0] if isinstance(kind, list) else kind
            if isinstance(one, Message):
                assert there.message_type.full_name == one.name
            else:
                assert KINDS[there.type] == one


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
CREATE = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "bundle": TEXTS,
        "terminal": st.booleans(),
        "rootfs": st.lists(
            st.fixed_dictionaries({"type": TEXTS, "source": TEXTS, "target": TEXTS, "options": st.lists(TEXTS)}),
            max_size=3,
        ),
        "options": st.none() | st.fixed_dictionaries({"type_url": TEXTS, "value": st.binary(max_size=300)}),
    }
)


@settings(max_examples=50)
@given(CREATE)
def test_what_one_writes_the_other_reads(fields):
    theirs = pb.CreateTaskRequest(**fields)
    assert pb.CreateTaskRequest.FromString(messages.CREATE_REQUEST.encode(fields)) == theirs
    found = messages.CREATE_REQUEST.decode(theirs.SerializeToString())
    for name, value in fields.items():
        if name == "rootfs":
            assert [{**mount, "options": list(mount["options"])} for mount in found[name]] == value
        else:
            assert found[name] == value


@settings(max_examples=50)
@given(st.integers(0, (1 << 64) - 1), st.floats(allow_nan=False))
def test_numbers_go_both_ways(number, real):
    message = Message("test", number=(1, NUMBER), real=(2, DOUBLE), many=(3, [NUMBER]))
    values = {"number": number, "real": real, "many": (number, 0)}
    assert message.decode(message.encode(values)) == values


def test_text_that_cannot_be_encoded_does_not_keep_an_answer_back():
    assert messages.STATUS.decode(messages.STATUS.encode({"message": "a\udcffb"}))["message"] == "a?b"


def test_fields_that_are_not_known_are_skipped():
    more = pb.StateResponse(id="x", pid=7, stdin="in").SerializeToString()
    fixed = struct.pack("<BI", 15 << 3 | 5, 1) + struct.pack("<BQ", 14 << 3 | 1, 1)
    assert Message("test", pid=(3, NUMBER)).decode(more + fixed) == {"pid": 7}


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(data):
    try:
        messages.CREATE_REQUEST.decode(data)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05abc", b"\x80", b"\x0a\x01\xff", b"\x08\x01", b"\x0b", b"\x08" + b"\xff" * 11]
)
def test_what_is_cut_off_or_of_another_kind_is_refused(data):
    with pytest.raises(ValueError, match=r"cut off|wire type|decode|ten bytes"):
        messages.START_REQUEST.decode(data)
