"""pycontainerd.services.control.v1.Control: what containerd's API has no word for."""

from __future__ import annotations

from pycontainerd.api.services.control.v1 import control_pb2 as pb
from pycontainerd.contracts.errors import Unavailable
from pycontainerd.contracts.service import Call
from pycontainerd.kernel import Daemon


class ControlService:
    """Control of the daemon itself."""

    SERVICE = "pycontainerd.services.control.v1.Control"

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def Reload(self, request: pb.ReloadRequest, call: Call) -> pb.ReloadResponse:
        if self._daemon.reload is None:
            raise Unavailable("reload: the daemon is still starting", hint="try again in a moment")
        reloaded = await self._daemon.reload(request.dry_run)
        changes = [
            pb.Change(key=one.key, verdict=one.verdict, plugin=one.plugin, message=one.message)
            for one in reloaded.changes
        ]
        return pb.ReloadResponse(
            accepted=reloaded.accepted, changes=changes, problems=reloaded.problems, warnings=reloaded.warnings
        )
