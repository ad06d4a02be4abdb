"""The wire edge of the events: what Go clients and shims send and get."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import attrs
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from pycontainerd.api.events import image_pb2, task_pb2
from pycontainerd.api.services.events.v1 import events_pb2 as pb
from pycontainerd.api.types import event_pb2
from pycontainerd.contracts import events as records
from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument
from pycontainerd.contracts.service import Call
from pycontainerd.contracts.types import AnyValue, Mount
from pycontainerd.events.exchange import Exchange
from pycontainerd.events.service import (
    EventsRpc,
    TtrpcEvents,
    decode,
    envelope_message,
    envelope_record,
    event_message,
    opened,
)

CALL = Call({"containerd-namespace": "default"})
WHEN = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
SAMPLES = {
    "labels": {"k": "v"},
    "runtime": records.ContainerRuntime("runc", AnyValue("t", b"o")),
    "rootfs": (Mount("bind", "/a", options=("ro",)),),
    "io": records.TaskIO("in", "out", "err", terminal=True),
    "exited_at": WHEN,
}


def sample(kind):
    """An instance of an event record with every field set."""
    values = {}
    for name, type in kind.__annotations__.items():
        values[name] = SAMPLES.get(name, 7 if type.__forward_arg__ == "int" else f"a-{name}")
    return kind(**values)


def test_events_are_equal_to_those_of_their_own_kind_alone():
    assert records.TaskPaused("a") == records.TaskPaused("a") != records.TaskPaused("b")
    assert records.TaskPaused("a") != records.TaskResumed("a")
    assert records.TaskPaused("a") != ("a",)
    assert records.TaskPaused("a") != ("a",)
    assert hash(records.TaskPaused("a")) == hash(records.TaskPaused("a"))


@pytest.mark.parametrize("kind", list(records.TOPICS), ids=lambda kind: kind.__name__)
def test_every_event_becomes_the_message_of_its_name_with_every_field(kind):
    message = event_message(sample(kind))
    assert message.DESCRIPTOR.name == kind.__name__
    assert {field.name for field, _ in message.ListFields()} == set(kind._fields)
    empty = event_message(
        kind(
            **{
                name: SAMPLES.get(name, 0 if type.__forward_arg__ == "int" else "")
                for name, type in kind.__annotations__.items()
                if name not in kind._field_defaults
            }
        )
    )
    assert type(empty) is type(message)


@pytest.mark.parametrize("kind", list(records.TOPICS), ids=lambda kind: kind.__name__)
def test_every_encoded_event_is_opened_to_the_record_it_was_made_of(kind):
    record = sample(kind)
    encoded = envelope_message(records.Envelope(WHEN, "default", "/a/b", record))
    opening = opened(envelope_record(encoded)).event
    if isinstance(opening, records.TaskCreate):
        rootfs = [attrs.evolve(one, options=tuple(one.options)) for one in opening.rootfs]
        opening, record = opening._replace(rootfs=rootfs), record._replace(rootfs=list(record.rootfs))
    assert opening == record
    assert type(opening) is kind


@pytest.mark.parametrize(
    ("record", "url"),
    [
        (records.ImageCreate("x"), "containerd.services.images.v1.ImageCreate"),
        (records.TaskOOM("x"), "containerd.events.TaskOOM"),
        (records.NamespaceCreate("x"), "containerd.events.NamespaceCreate"),
    ],
)
def test_the_type_url_is_the_bare_name_of_the_message(record, url):
    envelope = envelope_message(records.Envelope(WHEN, "default", "/a/b", record))
    assert envelope.event.type_url == url
    assert envelope.timestamp.ToDatetime(UTC) == WHEN


def test_a_record_that_is_no_event_is_refused():
    with pytest.raises(InvalidArgument, match="Mount"):
        event_message(Mount("a", "b"))


def task_exit():
    return task_pb2.TaskExit(container_id="c1", id="c1", pid=4, exit_status=137)


def packed(message):
    return {"type_url": message.DESCRIPTOR.full_name, "value": message.SerializeToString()}


def test_an_envelope_from_a_shim_reaches_a_subscriber_as_it_was_and_is_found_by_its_fields():
    sent = event_pb2.Envelope(namespace="k8s.io", topic="/tasks/exit", event=packed(task_exit()))
    sent.timestamp.FromDatetime(WHEN)

    async def scenario():
        exchange = Exchange(asyncio.get_running_loop(), decode)
        edge, shims = EventsRpc(exchange), TtrpcEvents(exchange)
        stream = edge.Subscribe(pb.SubscribeRequest(filters=["event.container_id==c1", "event.labels.a==b"]), CALL)
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        other = event_pb2.Envelope()
        other.CopyFrom(sent)
        other.event.CopyFrom(other.event.__class__(**packed(task_pb2.TaskExit(container_id="c2"))))
        await shims.Forward(pb.ForwardRequest(envelope=other), CALL)
        await shims.Forward(pb.ForwardRequest(envelope=sent), CALL)
        await edge.Publish(
            pb.PublishRequest(topic="/images/create", event=packed(image_pb2.ImageCreate(name="i", labels={"a": "b"}))),
            CALL,
        )
        await edge.Publish(pb.PublishRequest(topic="/odd", event={"type_url": "no.such.Type", "value": b"\xff"}), CALL)
        got = [await first, await anext(stream)]
        await stream.aclose()
        exchange.publish("default", records.ImageDelete("i"))
        assert not exchange._subscribers
        return got

    got = asyncio.run(scenario())
    assert got[0] == sent
    assert (got[1].namespace, got[1].topic) == ("default", "/images/create")
    assert got[1].event.type_url == "containerd.services.images.v1.ImageCreate"


def test_publishing_needs_a_namespace_and_a_topic():
    async def scenario():
        edge = EventsRpc(Exchange(asyncio.get_running_loop()))
        with pytest.raises(FailedPrecondition, match="namespace"):
            await edge.Publish(pb.PublishRequest(topic="/a"), Call())
        with pytest.raises(InvalidArgument, match="topic"):
            await edge.Publish(pb.PublishRequest(), CALL)

    asyncio.run(scenario())


def test_an_envelope_without_a_usable_time_is_refused():
    with pytest.raises(InvalidArgument, match="without a timestamp"):
        envelope_record(event_pb2.Envelope(namespace="a", topic="/b"))
    with pytest.raises(InvalidArgument, match="no time"):
        envelope_record(event_pb2.Envelope(topic="/b", timestamp=Timestamp(seconds=2**62)))
