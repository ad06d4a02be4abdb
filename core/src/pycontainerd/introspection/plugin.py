"""Registrations: io.containerd.grpc.v1.introspection and io.containerd.grpc.v1.version."""

from __future__ import annotations

from pycontainerd.kernel import Context, Registration

from .service import IntrospectionService
from .version import VersionService


def _introspection(ctx: Context[None]) -> IntrospectionService:
    return IntrospectionService(ctx.root, ctx.daemon.report)


def _version(ctx: Context[None]) -> VersionService:
    return VersionService(ctx.daemon.version, ctx.daemon.revision)


introspection = Registration(type="io.containerd.grpc.v1", id="introspection", init=_introspection)
version = Registration(type="io.containerd.grpc.v1", id="version", init=_version)
