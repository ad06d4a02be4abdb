"""containerd.services.version.v1.Version."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.services.version.v1 import version_pb2
from pycontainerd.contracts.service import Call


class VersionService:
    """Says which containerd API this daemon keeps to, and which build it is."""

    SERVICE = "containerd.services.version.v1.Version"

    def __init__(self, version: str, revision: str) -> None:
        self._answer = version_pb2.VersionResponse(version=version, revision=revision)

    async def Version(self, request: Empty, call: Call) -> version_pb2.VersionResponse:
        return self._answer
