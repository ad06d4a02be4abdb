"""The compiled .proto files against the tables of the API they implement, row by row."""

from __future__ import annotations

import csv
import importlib
import pkgutil
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

import pycontainerd.api

TABLES = {
    "containerd-api-2.3.tsv": lambda name: f"pycontainerd/api/{name}",
    "cgroups-stats.tsv": lambda name: f"pycontainerd/api/cgroups/{'v1' if 'cgroup1' in name else 'v2'}/metrics.proto",
}
SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def field_type(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return f"map<{field_type(key)},{field_type(value)}>"
    if field.message_type is not None:
        return field.message_type.full_name
    if field.enum_type is not None:
        return field.enum_type.full_name
    return SCALARS[field.type]


def field_label(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return ""
    if field.is_repeated:
        return "repeated"
    oneof = field.containing_oneof
    return "optional" if oneof is not None and oneof.name.startswith("_") else ""


def message_rows(message: Descriptor) -> set[tuple[str, ...]]:
    rows = {("message", message.full_name, "", "", "")}
    for field in message.fields:
        rows.add(
            ("field", f"{message.full_name}.{field.name}", str(field.number), field_label(field), field_type(field))
        )
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            rows |= message_rows(nested)
    for enum in message.enum_types:
        rows |= enum_rows(enum)
    return rows


def enum_rows(enum: EnumDescriptor) -> set[tuple[str, ...]]:
    owner = enum.full_name
    return {("enum", owner, "", "", "")} | {
        ("value", f"{owner}.{value.name}", str(value.number), "", "") for value in enum.values
    }


def file_rows(file: FileDescriptor) -> set[tuple[str, ...]]:
    rows: set[tuple[str, ...]] = set()
    for message in file.message_types_by_name.values():
        rows |= message_rows(message)
    for enum in file.enum_types_by_name.values():
        rows |= enum_rows(enum)
    for service in file.services_by_name.values():
        rows.add(("service", service.full_name, "", "", ""))
        for method in service.methods:
            streams = [
                name
                for name, on in (("client-stream", method.client_streaming), ("server-stream", method.server_streaming))
                if on
            ]
            arrow = f"{method.input_type.full_name} -> {method.output_type.full_name}"
            rows.add(("method", f"{service.full_name}/{method.name}", "", " ".join(streams), arrow))
    return rows


def table_rows(table: str) -> tuple[list[str], set[tuple[str, ...]]]:
    files: list[str] = []
    rows: set[tuple[str, ...]] = set()
    with (Path(__file__).parent / table).open() as handle:
        for kind, name, number, label, kind_type, *_note in csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE):
            if kind == "file":
                files.append(name)
            elif kind in ("field", "value", "method"):
                rows.add((kind, name, number, label, kind_type))
            elif kind in ("message", "enum", "service"):
                rows.add((kind, name, "", "", ""))
    return files, rows


@pytest.fixture(scope="module", autouse=True)
def _import_every_module() -> None:
    for module in pkgutil.walk_packages(pycontainerd.api.__path__, "pycontainerd.api."):
        if module.name.endswith("_pb2"):
            importlib.import_module(module.name)


@pytest.mark.parametrize("table", TABLES)
def test_the_compiled_api_is_the_table_row_by_row(table: str) -> None:
    files, expected = table_rows(table)
    pool = descriptor_pool.Default()
    compiled: set[tuple[str, ...]] = set()
    for name in files:
        compiled |= file_rows(pool.FindFileByName(TABLES[table](name)))
    assert compiled - expected == set(), "the .proto files have rows that the table lacks"
    assert expected - compiled == set(), "the table has rows that the .proto files lack"


def test_the_api_table_holds_all_132_methods() -> None:
    _, rows = table_rows("containerd-api-2.3.tsv")
    assert len([row for row in rows if row[0] == "method"]) == 132
