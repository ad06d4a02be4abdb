"""Events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pycontainerd.api.anys import to_any, to_record
from pycontainerd.api.convert import moment
from pycontainerd.api.services.events.v1 import events_pb2 as pb
from pycontainerd.contracts.events import Envelope
from pycontainerd.contracts.types import AnyValue

from .service import Service


class Events(Service):
    """The events of all namespaces."""

    SERVICE = "containerd.services.events.v1.Events"

    async def subscribe(self, filters: Sequence[str] = ()) -> AsyncIterator[Envelope]:
        """Events from now on, their ``event`` an `AnyValue`; leaving the iteration ends the subscription."""
        async for found in self._stub.stream("Subscribe", pb.SubscribeRequest(filters=filters)):
            yield Envelope(moment(found.timestamp), found.namespace, found.topic, to_record(found.event) or AnyValue())

    async def publish(self, topic: str, event: AnyValue) -> None:
        await self._stub.unary("Publish", pb.PublishRequest(topic=topic, event=to_any(event)))
