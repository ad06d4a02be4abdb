"""containerd.services.events.v1.Events, and the Forward that shims call over ttrpc."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any as AnyType

import attrs
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pycontainerd.api.anys import pack, to_any, to_record, unpack
from pycontainerd.api.convert import moment, mount_messages, mount_records, timestamp
from pycontainerd.api.events import (
    container_pb2,
    content_pb2,
    image_pb2,
    namespace_pb2,
    sandbox_pb2,
    snapshot_pb2,
    task_pb2,
)
from pycontainerd.api.services.events.v1 import events_pb2 as pb
from pycontainerd.api.services.ttrpc.events.v1 import events_pb2 as ttrpc_pb
from pycontainerd.api.types import event_pb2, mount_pb2
from pycontainerd.contracts import events as records
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.events import Envelope, EventBus
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue, Mount

_MODULES = (container_pb2, content_pb2, image_pb2, namespace_pb2, sandbox_pb2, snapshot_pb2, task_pb2)
_NESTED = {records.ContainerRuntime: container_pb2.ContainerCreate.Runtime, records.TaskIO: task_pb2.TaskIO}


class EventsRpc:
    """The gRPC edge of `EventBus`."""

    SERVICE = "containerd.services.events.v1.Events"

    def __init__(self, events: EventBus) -> None:
        self._events = events

    async def Publish(self, request: pb.PublishRequest, call: Call) -> Empty:
        event = AnyValue(request.event.type_url, request.event.value)
        self._events.publish(call.namespace, event, request.topic)
        return Empty()

    async def Forward(self, request: pb.ForwardRequest, call: Call) -> Empty:
        self._events.forward(envelope_record(request.envelope))
        return Empty()

    async def Subscribe(self, request: pb.SubscribeRequest, call: Call) -> AsyncIterator[event_pb2.Envelope]:
        subscription = self._events.subscribe(list(request.filters))
        try:
            async for envelope in subscription:
                yield envelope_message(envelope)
        finally:
            subscription.close()


class TtrpcEvents:
    """Where shims send their events."""

    SERVICE = "containerd.services.events.ttrpc.v1.Events"

    def __init__(self, events: EventBus) -> None:
        self._events = events

    async def Forward(self, request: ttrpc_pb.ForwardRequest, call: Call) -> Empty:
        self._events.forward(envelope_record(request.envelope))
        return Empty()


def envelope_record(message: event_pb2.Envelope) -> Envelope:
    """An envelope of the wire; its event stays encoded.

    :raises InvalidArgument: it has no time, or one that is no date.
    """
    if not message.HasField("timestamp"):
        raise InvalidArgument(f"an envelope for topic {message.topic!r} came without a timestamp")
    when = moment(message.timestamp)
    event = AnyValue(message.event.type_url, message.event.value)
    return Envelope(when, message.namespace, message.topic, event)


def envelope_message(envelope: Envelope) -> event_pb2.Envelope:
    """The message for a subscriber."""
    event = envelope.event
    return event_pb2.Envelope(
        timestamp=timestamp(envelope.timestamp),
        namespace=envelope.namespace,
        topic=envelope.topic,
        event=to_any(event) if isinstance(event, AnyValue) else pack(event_message(event)),
    )


def decode(value: AnyValue) -> Message | None:
    """The message in an encoded event; None where the type is not known here or the bytes are not of it."""
    try:
        return unpack(Any(type_url=value.type_url, value=value.value))
    except InvalidArgument:
        return None


def event_message(record: AnyType) -> Message:
    """The protobuf message of the same name, field by field.

    :raises InvalidArgument: ``record`` is not an event of `contracts.events`.
    """
    kind = _KINDS.get(type(record))
    if kind is None:
        raise InvalidArgument(f"cannot encode a {type(record).__name__} as an event")
    values = {name: _value(getattr(record, name)) for name in record._fields}
    return kind(**{name: value for name, value in values.items() if value is not None})


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, AnyValue):
        return to_any(value)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mount):
        return mount_messages(value)
    return event_message(value) if type(value) in _NESTED else value


def opened(envelope: Envelope) -> Envelope:
    """``envelope`` with the record of its event, where that came encoded and is one of `contracts.events`."""
    event = envelope.event
    message = decode(event) if isinstance(event, AnyValue) else None
    kind = _RECORDS.get(type(message)) if message is not None else None
    return envelope if kind is None else attrs.evolve(envelope, event=_record(kind, message))


def _record(kind: AnyType, message: AnyType) -> object:
    known = message.DESCRIPTOR.fields_by_name
    names = [name for name in kind._fields if name in known]
    return kind(**{name: _python(getattr(message, name), message, name) for name in names})


def _python(value: AnyType, message: Message, name: str) -> object:
    """A field's value as records have it."""
    if isinstance(value, Timestamp):
        return moment(value)
    if isinstance(value, Any):
        return to_record(value)
    if isinstance(value, Message):
        kind = _RECORDS.get(type(value))
        return _record(kind, value) if kind is not None and message.HasField(name) else None
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.message_type is not None and field.message_type is mount_pb2.Mount.DESCRIPTOR:
        return mount_records(value)
    return value


def _kinds() -> Mapping[type, type[Message]]:
    by_name = {name: getattr(module, name) for module in _MODULES for name in module.DESCRIPTOR.message_types_by_name}
    return {**{record: by_name[record.__name__] for record in records.TOPICS}, **_NESTED}


_KINDS = _kinds()
_RECORDS: Mapping[type[Message], type] = {message: record for record, message in _KINDS.items()}
