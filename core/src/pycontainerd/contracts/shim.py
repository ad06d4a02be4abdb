"""Shims of our own: how the daemon asks the zygote for one."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen
class ShimStart:
    """A shim to start.

    It listens on the unix socket ``socket`` before `Zygote.start` returns, serves the task in ``bundle``, sends its
    events to the ttrpc socket ``publish_address``, and imports ``driver`` (``package.module:attribute``) to run it.
    """

    namespace: str
    id: str
    bundle: str
    publish_address: str
    socket: str
    driver: str
    debug: bool = False


class Zygote(Protocol):
    """The small process that the daemon starts before anything else: shims are copies of it."""

    async def start(self, request: ShimStart, *, timeout: float = 10.0) -> int:
        """The pid of a new shim that is ready for connections.

        :raises ContainerdError: there is none; nothing is left of the attempt.
        """
        ...

    def close(self) -> None:
        """End the zygote; its shims live on."""
        ...
