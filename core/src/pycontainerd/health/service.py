"""grpc.health.v1.Health, as every gRPC prober knows it (grpc/doc/health-checking.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.service import Call

from . import health


class HealthService:
    """Answers for the daemon (service "") and for each service by its full name."""

    SERVICE = "grpc.health.v1.Health"

    def __init__(self, state: Callable[[str], bool | None]) -> None:
        # The module is the import of a third-party package: only a daemon that serves health pays for it.
        from grpc_health.v1 import health_pb2

        self._pb = health_pb2
        self._state = state

    async def Check(self, request: Any, call: Call) -> Any:
        state = self._state(request.service)
        if state is None:
            raise NotFound(f"unknown service {request.service!r}")
        return self._response(state)

    async def Watch(self, request: Any, call: Call) -> AsyncIterator[Any]:
        """Sends the state now and after each change; an unknown service is SERVICE_UNKNOWN, not an error."""
        last: object = health.NEVER
        while True:
            state = self._state(request.service)
            if state is not last:
                yield self._response(state)
                last = state
            await asyncio.sleep(health.WATCH_INTERVAL)

    def _response(self, state: bool | None) -> Any:
        names = {True: "SERVING", False: "NOT_SERVING", None: "SERVICE_UNKNOWN"}
        return self._pb.HealthCheckResponse(status=names[state])
