"""containerd.services.introspection.v1.Introspection."""

from __future__ import annotations

import os
from collections.abc import Callable

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.rpc.status_pb2 import Status

from pycontainerd.api.convert import platform_message
from pycontainerd.api.services.introspection.v1 import introspection_pb2 as pb
from pycontainerd.api.status import NUMBERS
from pycontainerd.api.types.platform_pb2 import Platform
from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.platforms import default_platform, parse
from pycontainerd.contracts.service import Call
from pycontainerd.kernel import Report, Row, State

from .introspection import identity, select

_CODES = {
    State.DISABLED: "UNAVAILABLE",
    State.NOT_INSTALLED: "UNIMPLEMENTED",
    State.SKIPPED: "FAILED_PRECONDITION",
    State.FAILED: "INTERNAL",
    State.BLOCKED: "UNAVAILABLE",
}
_OF_PLATFORM = frozenset({"io.containerd.snapshotter.v1", "io.containerd.differ.v1", "io.containerd.runtime.v2"})


class IntrospectionService:
    """What the daemon says of itself. A plugin's state and cause travel in its ``init_err``."""

    SERVICE = "containerd.services.introspection.v1.Introspection"

    def __init__(self, root: str, report: Callable[[], Report]) -> None:
        self._root = root
        self._report = report

    def Plugins(self, request: pb.PluginsRequest, call: Call) -> pb.PluginsResponse:
        rows = select(self._report(), list(request.filters))
        return pb.PluginsResponse(plugins=[_plugin(row) for row in rows])

    def Server(self, request: Empty, call: Call) -> pb.ServerResponse:
        return pb.ServerResponse(uuid=identity(self._root), pid=os.getpid(), pidns=os.stat("/proc/self/ns/pid").st_ino)

    def PluginInfo(self, request: pb.PluginInfoRequest, call: Call) -> pb.PluginInfoResponse:
        uri = f"{request.type}.{request.id}"
        row = self._report().rows.get(uri)
        if row is None:
            raise NotFound(self._report().why(uri))
        if request.HasField("options"):
            raise NotImplementedError(f"{uri} takes no options of type {request.options.type_url!r}")
        return pb.PluginInfoResponse(plugin=_plugin(row), extra=Any())


def _plugin(row: Row) -> pb.Plugin:
    plugin = pb.Plugin(
        type=row.type,
        id=row.id,
        requires=row.requires,
        exports=dict(row.exports) | _facts(row),
        capabilities=row.capabilities,
        platforms=_platforms(row),
    )
    if row.state is not State.OK:
        # Go clients tell a skipped plugin from a broken one by these two words.
        prefix = "" if row.state in (State.FAILED, State.BLOCKED) else "skip plugin: "
        plugin.init_err.CopyFrom(Status(code=NUMBERS[_CODES[row.state]], message=prefix + row.sentence))
    return plugin


def _facts(row: Row) -> dict[str, str]:
    """What the API has no field for, as exports, which every client shows."""
    facts = {"state": str(row.state), "package": row.package, "wants": " ".join(row.wants)}
    facts["blocked-by"] = row.chain[0] if row.chain else ""  # who asks for all rows has the whole chain by that
    if row.import_seconds or row.init_seconds:
        facts["seconds"] = f"{row.import_seconds:.4f} {row.init_seconds:.4f}"
    return {f"io.pycontainerd.{key}": value for key, value in facts.items() if value}


def _platforms(row: Row) -> list[Platform]:
    """Those it told; for what cares for files or processes this machine's, as clients ask which they may unpack for."""
    here = default_platform()
    told = row.platforms or ([here.os] if row.state is State.OK and row.type in _OF_PLATFORM else [])
    return [platform_message(here if text == here.os else parse(text)) for text in told]
