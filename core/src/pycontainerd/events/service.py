"""containerd.services.events.v1.Events, and the Forward that shims call over ttrpc."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any as AnyType

import attrs
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from pycontainerd.api.anys import pack, to_any
from pycontainerd.api.convert import moment, mount_messages, timestamp
from pycontainerd.api.events import (
    container_pb2,
    content_pb2,
    image_pb2,
    namespace_pb2,
    snapshot_pb2,
    task_pb2,
)
from pycontainerd.api.services.events.v1 import events_pb2 as pb
from pycontainerd.api.services.ttrpc.events.v1 import events_pb2 as ttrpc_pb
from pycontainerd.api.types.event_pb2 import Envelope as Message_
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.events import Envelope, EventBus
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue, Mount

_MODULES = (container_pb2, content_pb2, image_pb2, namespace_pb2, snapshot_pb2, task_pb2)
_NESTED = {"ContainerRuntime": container_pb2.ContainerCreate.Runtime}


class EventsRpc:
    """The gRPC edge of `EventBus`."""

    SERVICE = "containerd.services.events.v1.Events"

    def __init__(self, events: EventBus) -> None:
        self._events = events

    async def Publish(self, request: pb.PublishRequest, call: Call) -> Empty:
        self._events.publish(call.namespace, AnyValue(request.event.type_url, request.event.value), request.topic)
        return Empty()

    async def Forward(self, request: pb.ForwardRequest, call: Call) -> Empty:
        self._events.forward(envelope_record(request.envelope))
        return Empty()

    async def Subscribe(self, request: pb.SubscribeRequest, call: Call) -> AsyncIterator[Message_]:
        subscription = self._events.subscribe(list(request.filters))
        async for envelope in subscription:
            yield envelope_message(envelope)


class TtrpcEvents:
    """Where shims send their events."""

    SERVICE = "containerd.services.events.ttrpc.v1.Events"

    def __init__(self, events: EventBus) -> None:
        self._events = events

    async def Forward(self, request: ttrpc_pb.ForwardRequest, call: Call) -> Empty:
        self._events.forward(envelope_record(request.envelope))
        return Empty()


def envelope_record(message: Message_) -> Envelope:
    """:raises InvalidArgument: it has no time."""
    if not message.HasField("timestamp"):
        raise InvalidArgument(f"an envelope for {message.topic!r} came without a timestamp")
    return Envelope(
        moment(message.timestamp),
        message.namespace,
        message.topic,
        AnyValue(message.event.type_url, message.event.value),
    )


def envelope_message(envelope: Envelope) -> Message_:
    event = envelope.event
    packed = to_any(event) if isinstance(event, AnyValue) else pack(event_message(event))
    return Message_(
        timestamp=timestamp(envelope.timestamp), namespace=envelope.namespace, topic=envelope.topic, event=packed
    )


def event_message(record: AnyType) -> Message:
    """The protobuf message of the same name, field by field."""
    name = type(record).__name__
    kind: AnyType = _NESTED.get(name) or next(getattr(module, name) for module in _MODULES if hasattr(module, name))
    values = {field.name: _value(getattr(record, field.name)) for field in attrs.fields(type(record))}
    message: Message = kind(**{key: value for key, value in values.items() if value is not None})
    return message


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, AnyValue):
        return Any(type_url=value.type_url, value=value.value)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mount):
        return mount_messages(value)
    return event_message(value) if attrs.has(type(value)) else value
