"""Registration: io.containerd.grpc.v1.healthcheck."""

from __future__ import annotations

from pycontainerd.kernel import Context, Registration

from .health import Health
from .service import HealthService


def _init(ctx: Context[None]) -> HealthService:
    def served() -> list[str]:
        return [service.SERVICE for service in ctx.by_type("io.containerd.grpc.v1").values()]

    return HealthService(Health(served, ctx.daemon.services).state)


healthcheck = Registration(type="io.containerd.grpc.v1", id="healthcheck", init=_init)
