"""How a plugin serves RPC without knowing gRPC or ttrpc.

A *service* is an object with the attribute ``SERVICE`` (the full protobuf name, such as
``containerd.services.images.v1.Images``) and a method for each RPC it implements, under the RPC's name:

    def Get(self, request: GetImageRequest, call: Call) -> GetImageResponse: ...

- A plain function runs in the worker pool, so it may block. An ``async def`` runs on the event loop and must not.
- A server-streaming RPC is a generator (plain: iterated in the pool) or an async generator.
- A client- or bidirectional-streaming RPC is an async generator (or coroutine) that gets an async iterator of requests.
- It raises errors of `contracts.errors`; anything else is answered as INTERNAL and logged with its traceback.
- An RPC that has no method here is answered UNIMPLEMENTED.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import attrs

from .errors import FailedPrecondition, InvalidArgument
from .types import EMPTY, Scope

NAMESPACE_HEADER = "containerd-namespace"
LEASE_HEADER = "containerd-lease"

_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(?:[-_.](?:[A-Za-z0-9]+))*\Z")
MAX_IDENTIFIER = 76


def validate_identifier(value: str, what: str = "identifier") -> str:
    """``value`` if it is a legal id for namespaces, containers and leases (containerd docs/namespaces.md).

    :raises InvalidArgument: it is empty, longer than 76 characters, or has characters other than ``A-Za-z0-9._-``.
    """
    if not value:
        raise InvalidArgument(f"{what} must not be empty")
    if len(value) > MAX_IDENTIFIER:
        raise InvalidArgument(f"{what} {value[:20]!r}… is {len(value)} characters long, the limit is {MAX_IDENTIFIER}")
    if not _IDENTIFIER.match(value):
        raise InvalidArgument(
            f"{what} {value!r} is not valid", hint="use letters and digits, joined by single '-', '_' or '.'"
        )
    return value


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
