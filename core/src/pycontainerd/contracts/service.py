"""How a plugin serves RPC without knowing gRPC or ttrpc.

A *service* is an object with the attribute ``SERVICE`` (the full protobuf name, such as
``containerd.services.images.v1.Images``) and a method for each RPC it implements, under the RPC's name:

    def Get(self, request: GetImageRequest, call: Call) -> GetImageResponse: ...

- A plain function runs in the worker pool, so it may block. An ``async def`` runs on the event loop and must not.
- A server-streaming RPC is a generator (plain: iterated in the pool) or an async generator.
- A client- or bidirectional-streaming RPC is an async generator (or coroutine) that gets an async iterator of requests.
- A response may also be the bytes of its message, where making them directly is cheaper (`api.wire`).
- It raises errors of `contracts.errors`; anything else is answered as INTERNAL and logged with its traceback.
- An RPC that has no method here is answered UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import attrs

from .errors import FailedPrecondition
from .identifiers import MAX_IDENTIFIER, validate_identifier
from .types import EMPTY, Scope

__all__ = [
    "LEASE_HEADER",
    "MAX_IDENTIFIER",
    "NAMESPACE_HEADER",
    "Call",
    "RpcService",
    "validate_identifier",
]

NAMESPACE_HEADER = "containerd-namespace"
LEASE_HEADER = "containerd-lease"


@attrs.frozen
class Call:
    """One RPC under way: its headers, lower-cased."""

    metadata: Mapping[str, str] = EMPTY

    @property
    def namespace(self) -> str:
        """The caller's namespace.

        :raises FailedPrecondition: the request names none.
        :raises InvalidArgument: it is not a legal name.
        """
        name = self.metadata.get(NAMESPACE_HEADER, "")
        if not name:
            raise FailedPrecondition(
                "namespace is required", hint=f"send the {NAMESPACE_HEADER} header, for example 'default'"
            )
        return validate_identifier(name, "namespace")

    @property
    def scope(self) -> Scope:
        """`namespace` and the lease the caller works under."""
        return Scope(self.namespace, self.metadata.get(LEASE_HEADER, ""))


@runtime_checkable
class RpcService(Protocol):
    """What plugins of type ``io.containerd.grpc.v1`` and ``io.containerd.ttrpc.v1`` return from init."""

    SERVICE: str
