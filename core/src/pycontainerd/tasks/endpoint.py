"""Where a shim listens: what it prints when it has started, and the file that remembers it."""

from __future__ import annotations

import json

import attrs
from google.protobuf.message import DecodeError

from pycontainerd.api.runtime.bootstrap.v1.bootstrap_pb2 import BootstrapResult
from pycontainerd.contracts.errors import InvalidArgument, NotImplemented

from .bundle import ADDRESS_FILE, BOOTSTRAP_FILE, Bundle

NEWEST = 3
MAX_ANSWER = 1 << 16
_SERVICES = {2: "containerd.task.v2.Task", 3: "containerd.task.v3.Task"}


@attrs.frozen
class Endpoint:
    """A shim's address, and the version of the task API it speaks there."""

    address: str
    version: int = NEWEST
    protocol: str = "ttrpc"

    @property
    def service(self) -> str:
        """The full name of the task service."""
        return _SERVICES[self.version]

    @property
    def path(self) -> str:
        """The socket's path; one that starts with a NUL is abstract.

        :raises NotImplemented: it is not a unix socket.
        """
        scheme, separator, rest = self.address.partition("://")
        if not separator:
            return f"\0{self.address}"  # the oldest shims listen on abstract sockets
        if scheme != "unix":
            raise NotImplemented(f"the shim listens on {self.address!r}: only unix sockets are supported")
        return rest

    def to_json(self) -> str:
        return json.dumps({"version": self.version, "address": self.address, "protocol": self.protocol})


def parse(answer: bytes) -> Endpoint:
    """What a shim printed: a BootstrapResult (2.3 and later), JSON (2.0), or a bare address (1.x).

    :raises InvalidArgument: it is none of them.
    :raises NotImplemented: it speaks a version or protocol that we do not.
    """
    if len(answer) > MAX_ANSWER:
        raise InvalidArgument(f"the shim printed {len(answer)} bytes where its address was expected")
    text = answer.strip()
    found = _json(text) if text.startswith(b"{") else _protobuf(answer) or _bare(text)
    if found is None:
        raise InvalidArgument(f"the shim printed no address but {text[:200]!r}")
    if found.version not in _SERVICES:
        raise NotImplemented(
            f"the shim speaks version {found.version} of the task API, known are {sorted(_SERVICES)}",
            hint="it is newer than this daemon",
        )
    if found.protocol.lower() != "ttrpc":
        raise NotImplemented(f"the shim wants to speak {found.protocol!r}, only ttrpc is supported")
    return found


def _protobuf(answer: bytes) -> Endpoint | None:
    try:
        result = BootstrapResult.FromString(answer)
    except DecodeError:
        return None
    if not result.address or not result.version:
        return None
    return Endpoint(result.address, result.version, result.protocol)


def _json(text: bytes) -> Endpoint | None:
    try:
        fields = json.loads(text)
        return Endpoint(str(fields["address"]), int(fields["version"]), str(fields.get("protocol") or "ttrpc"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _bare(text: bytes) -> Endpoint | None:
    try:
        address = text.decode("ascii")
    except UnicodeDecodeError:
        return None
    return Endpoint(address, 2) if address and address.isprintable() and " " not in address else None


def remember(bundle: Bundle, endpoint: Endpoint) -> None:
    """Keep it for a later run of the daemon, as the Go containerd does."""
    bundle.write(BOOTSTRAP_FILE, endpoint.to_json())


def recall(bundle: Bundle) -> Endpoint | None:
    """What `remember` (or a 1.x shim) kept; None if the shim never came up.

    :raises InvalidArgument: the file is damaged.
    :raises NotImplemented: as in `parse`.
    """
    kept = bundle.read(BOOTSTRAP_FILE) or bundle.read(ADDRESS_FILE)
    return parse(kept.encode()) if kept else None
