"""Messages in Any values, decoded for people. Imported only where something is shown."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from pycontainerd.api import anys
from pycontainerd.api.cgroups.v1 import metrics_pb2 as cgroups_v1
from pycontainerd.api.cgroups.v2 import metrics_pb2 as cgroups_v2
from pycontainerd.api.events import (
    container_pb2,
    content_pb2,
    image_pb2,
    namespace_pb2,
    sandbox_pb2,
    snapshot_pb2,
    task_pb2,
)
from pycontainerd.api.types.runc.options import oci_pb2
from pycontainerd.api.types.runtimeoptions.v1 import api_pb2
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import AnyValue

# Importing them is what makes their messages known.
_KNOWN = (
    container_pb2, content_pb2, image_pb2, namespace_pb2, sandbox_pb2, snapshot_pb2, task_pb2,
    oci_pb2, api_pb2, cgroups_v1, cgroups_v2,
)  # fmt: skip


def decode(value: AnyValue) -> dict[str, Any]:
    """The fields of the message in ``value``; its bytes in hex where the type is not known."""
    wire = anys.to_any(value)
    assert wire is not None
    try:
        message = anys.unpack(wire)
    except InvalidArgument:
        return {"value": value.value.hex()}
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
