"""``google.protobuf.Any`` as containerd writes it: the type URL is the bare message name, without a host."""

from __future__ import annotations

from google.protobuf import symbol_database
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import AnyValue

SPEC_URL = "types.containerd.io/opencontainers/runtime-spec/1/Spec"


def pack(message: Message) -> Any:
    """``message`` in an Any with containerd's type URL."""
    return Any(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


def unpack(value: Any) -> Message:
    """The message in ``value``; its .proto module must have been imported.

    :raises InvalidArgument: the type is unknown or the bytes are not of it.
    """
    name = value.type_url.rsplit("/", 1)[-1]
    try:
        message: Message = symbol_database.Default().GetSymbol(name)()
        message.ParseFromString(value.value)
    except KeyError:
        raise InvalidArgument(f"unknown message type {value.type_url!r}") from None
    except Exception as exc:
        raise InvalidArgument(f"cannot read a {value.type_url}: {exc}") from exc
    return message


def to_record(value: Any) -> AnyValue | None:
    """An Any of the wire as a record; None where it is unset."""
    return AnyValue(value.type_url, value.value) if value.type_url or value.value else None


def put(field: Any, record: AnyValue | None) -> None:
    """Set the Any of a message to ``record``; unset it stays for None."""
    if record is not None:
        field.type_url, field.value = record.type_url, record.value
        field.SetInParent()


def to_any(record: AnyValue | None) -> Any | None:
    """A record as an Any of the wire."""
    return None if record is None else Any(type_url=record.type_url, value=record.value)
