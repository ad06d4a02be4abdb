"""What the server is, and what runs in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from google.protobuf.empty_pb2 import Empty

from pycontainerd.api.convert import moment, platform_record
from pycontainerd.api.services.introspection.v1 import introspection_pb2 as pb
from pycontainerd.api.services.version.v1 import version_pb2
from pycontainerd.api.status import from_code
from pycontainerd.contracts.errors import NotFound, NotImplemented
from pycontainerd.contracts.types import Platform

from .service import MakeStub, Service

_SKIP = "skip plugin"
_OURS = "io.pycontainerd."  # exports by which a pycontainerd says what the API has no field for


@attrs.frozen
class Version:
    """The server's version."""

    version: str
    revision: str


@attrs.frozen
class Deprecation:
    """A deprecated feature that was used."""

    id: str
    message: str
    last_occurrence: datetime


@attrs.frozen
class Server:
    """The server's identity and the deprecated features that were used."""

    uuid: str
    pid: int = 0
    pidns: int = 0
    deprecations: Sequence[Deprecation] = ()


@attrs.frozen
class Plugin:
    """A plugin as the server reports it. ``error`` is empty where it is up; ``code`` is the status of the error."""

    type: str
    id: str
    requires: Sequence[str] = ()
    platforms: Sequence[Platform] = ()
    exports: Mapping[str, str] = attrs.field(factory=dict)
    capabilities: Sequence[str] = ()
    code: str = ""
    error: str = ""

    @property
    def uri(self) -> str:
        return f"{self.type}.{self.id}"

    @property
    def status(self) -> str:
        """``ok``, ``skip`` or ``error``, as the Go tool says it."""
        if not self.error and not self.code:
            return "ok"
        return "skip" if _SKIP in self.error else "error"

    @property
    def state(self) -> str:
        """One of pycontainerd's six states; of another server's plugin its `status`."""
        return self._told("state") or self.status

    @property
    def sentence(self) -> str:
        """Why it is not up, in the server's words."""
        return self.error.removeprefix(f"{_SKIP}: ").removesuffix(f": {_SKIP}")

    @property
    def distribution(self) -> str:
        """The package that it came in. Empty: the server does not say."""
        return self._told("package").partition(" ")[0]

    @property
    def version(self) -> str:
        return self._told("package").partition(" ")[2]

    @property
    def wants(self) -> Sequence[str]:
        """Types and URIs that it uses where they are there."""
        return self._told("wants").split()

    @property
    def blocked_by(self) -> str:
        """The next plugin on the way to what keeps this one from starting."""
        return self._told("blocked-by")

    @property
    def import_seconds(self) -> float | None:
        return self._seconds(0)

    @property
    def init_seconds(self) -> float | None:
        return self._seconds(1)

    def _told(self, what: str) -> str:
        return self.exports.get(f"{_OURS}{what}", "")

    def _seconds(self, place: int) -> float | None:
        told = self._told("seconds").split()
        try:
            return float(told[place])
        except (IndexError, ValueError):
            return None


class Introspection(Service):
    """Version, identity and plugins of the server."""

    SERVICE = "containerd.services.introspection.v1.Introspection"

    def __init__(self, make: MakeStub) -> None:
        super().__init__(make)
        self._version = make("containerd.services.version.v1.Version")

    async def version(self) -> Version:
        found: version_pb2.VersionResponse = await self._version.unary("Version", Empty())
        return Version(found.version, found.revision)

    async def server(self) -> Server:
        found: pb.ServerResponse = await self._stub.unary("Server", Empty())
        warnings = [_deprecation(item) for item in found.deprecations]
        return Server(found.uuid, found.pid, found.pidns, warnings)

    async def plugins(self, filters: Sequence[str] = ()) -> list[Plugin]:
        found: pb.PluginsResponse = await self._stub.unary("Plugins", pb.PluginsRequest(filters=filters))
        return [_plugin(item) for item in found.plugins]

    async def plugin(self, uri: str) -> Plugin:
        """The plugin of that URI, with the details that a server of 2.0 or later gives.

        :raises NotFound: the server knows no such plugin.
        """
        for item in await self.plugins():
            if item.uri == uri:
                return await self._detailed(item)
        raise NotFound(f"plugin {uri!r}: the server knows no such plugin", hint="`ctr plugins ls` lists those it knows")

    async def _detailed(self, plugin: Plugin) -> Plugin:
        try:
            found: pb.PluginInfoResponse = await self._stub.unary(
                "PluginInfo", pb.PluginInfoRequest(type=plugin.type, id=plugin.id)
            )
        except (NotFound, NotImplemented):  # a server before 2.0, or a plugin it has no more to say about
            return plugin
        return _plugin(found.plugin)


def _deprecation(value: Any) -> Deprecation:  # the generated type shares its name with a built-in warning
    return Deprecation(value.id, value.message, moment(value.last_occurrence))


def _plugin(value: pb.Plugin) -> Plugin:
    failed = value.HasField("init_err")
    return Plugin(
        type=value.type,
        id=value.id,
        requires=tuple(value.requires),
        platforms=[platform_record(item) for item in value.platforms],
        exports=dict(value.exports),
        capabilities=tuple(value.capabilities),
        code=from_code(value.init_err.code, "").code if failed else "",
        error=value.init_err.message if failed else "",
    )
