"""A sandbox controller behind a socket: containerd.services.sandbox.v1.Controller.

There is no contract for sandbox controllers yet, so it takes and gives the API's messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycontainerd.api.services.sandbox.v1 import sandbox_pb2 as _pb  # noqa: F401 - makes the service known
from pycontainerd.contracts.types import Scope

from .link import Link

SERVICE = "containerd.services.sandbox.v1.Controller"
DEADLINES: Mapping[str, float] = {"Create": 120, "Start": 120, "Stop": 120, "Shutdown": 120}  # seconds


class ProxySandboxController:
    """``name`` is what requests call the sandboxer."""

    def __init__(self, link: Link, name: str, scope: Scope | None = None) -> None:
        self._link = link
        self._name = name
        self._scope = scope

    def call(self, method: str, request: Any, scope: Scope) -> Any:
        """Call an RPC of the controller, in the name of ``scope`` unless the config names a namespace.

        ``Wait`` ends at its deadline like any other call: ask again.

        :raises ContainerdError: as for `Link.unary`.
        """
        if "sandboxer" in request.DESCRIPTOR.fields_by_name:
            request.sandboxer = self._name
        return self._link.unary(SERVICE, method, request, self._scope or scope)

    def close(self) -> None:
        """End the connection."""
        self._link.close()
