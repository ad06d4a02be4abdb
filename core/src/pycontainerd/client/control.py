"""Control of a pycontainerd daemon itself; other daemons do not know this service."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pycontainerd.api.services.control.v1 import control_pb2 as pb

from .service import Service


@attrs.frozen
class Change:
    """A key of the configuration, and what became of it: ``applied``, ``needs restart`` or ``rejected``."""

    key: str
    verdict: str
    plugin: str
    message: str


@attrs.frozen
class Reload:
    """How a reload ended. Not ``accepted``: ``problems`` says why, and nothing changed."""

    accepted: bool
    changes: Sequence[Change]
    problems: Sequence[str]
    warnings: Sequence[str] = ()


class Control(Service):
    """Reload."""

    SERVICE = "pycontainerd.services.control.v1.Control"

    async def reload(self, *, dry_run: bool = False) -> Reload:
        """Have the daemon read its configuration anew; with ``dry_run`` it only says what would change."""
        found: pb.ReloadResponse = await self._stub.unary("Reload", pb.ReloadRequest(dry_run=dry_run))
        changes = [Change(one.key, one.verdict, one.plugin, one.message) for one in found.changes]
        return Reload(found.accepted, changes, list(found.problems), list(found.warnings))
