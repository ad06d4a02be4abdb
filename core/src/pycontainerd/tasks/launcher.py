"""Launchers: how the shim of a runtime is started, and what cleans up after one that died."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import attrs
from google.protobuf.message import DecodeError

from pycontainerd.api.convert import moment
from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.errors import FailedPrecondition, Internal, InvalidArgument, NotFound
from pycontainerd.contracts.runtime import Exit, RuntimeHandler
from pycontainerd.contracts.shim import ShimStart, Zygote
from pycontainerd.contracts.types import AnyValue, now

from . import endpoint
from .bundle import RUNTIME_FILE, Bundle
from .command import DELETE_DEADLINE, START_DEADLINE, Addresses, find, run
from .endpoint import Endpoint
from .process import HeldProcess

KILLED = 137  # the exit status of what is gone without a word
PID_FILE = "shim.pid"
MAX_SOCKET = 107  # bytes of a unix socket's path
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+\Z")
_BOOTSTRAP = (2, 3)  # from this version of containerd on, its shims read a bootstrap message
_VERSION = re.compile(r"Version:\s*v?(\d+)\.(\d+)")


class Launcher(Protocol):
    """Starts shims of one runtime."""

    @property
    def logs(self) -> bool:
        """Whether its shims write to the FIFO "log" in the bundle."""
        ...

    async def start(self, bundle: Bundle, options: AnyValue | None) -> Endpoint:
        """Start a shim for ``bundle``; it listens when this returns."""
        ...

    async def delete(self, bundle: Bundle) -> Exit:
        """Remove what a dead shim left of its container, and how that ended."""
        ...


@attrs.frozen
class ZygoteLauncher:
    """Of our own shim, driving what a runtime handler says."""

    handler: RuntimeHandler
    zygote: Zygote
    addresses: Addresses
    sockets: str
    logs: bool = False

    async def start(self, bundle: Bundle, options: AnyValue | None) -> Endpoint:
        socket = self._socket(bundle)
        found = Endpoint(f"unix://{socket}")
        # Kept before it is true: should the daemon die in between, the next one finds the shim.
        endpoint.remember(bundle, found)
        bundle.write(RUNTIME_FILE, self.handler.name)
        request = ShimStart(
            namespace=bundle.namespace,
            id=bundle.id,
            bundle=bundle.path,
            publish_address=self.addresses.ttrpc,
            socket=socket,
            driver=self.handler.driver,
        )
        pid = await self.zygote.start(request)
        bundle.write(PID_FILE, str(pid))
        return found

    def _socket(self, bundle: Bundle) -> str:
        # Never the same twice: what a shim does on its way out must not hit the next of that name.
        name = secrets.token_hex(16)
        path = os.path.join(self.sockets, name)
        if len(os.fsencode(path)) > MAX_SOCKET:
            raise FailedPrecondition(
                f"cannot start a shim: its socket {path} would be longer than {MAX_SOCKET} bytes",
                hint="configure a shorter state directory",
            )
        return path

    async def delete(self, bundle: Bundle) -> Exit:
        command = [sys.executable, "-m", "pycontainerd.shim", *self.addresses.arguments(bundle, "delete")]
        environment = {**self.addresses.environment(bundle.namespace), "PYCONTAINERD_DRIVER": self.handler.driver}
        return await _delete(command, bundle, environment)


@attrs.define
class BinaryLauncher:
    """Of an executable with the shim-v2 command line."""

    path: str
    addresses: Addresses
    logs: bool = True
    _version: tuple[int, int] | None = None

    async def start(self, bundle: Bundle, options: AnyValue | None) -> Endpoint:
        bundle.write(RUNTIME_FILE, self.path)
        answer, errors = await run(
            [self.path, *self.addresses.arguments(bundle, "start")],
            cwd=bundle.path,
            env=self.addresses.environment(bundle.namespace),
            stdin=await self._stdin(bundle, options),
            timeout=START_DEADLINE,
        )
        try:
            found = endpoint.parse(answer)
        except InvalidArgument as exc:
            raise Internal(
                f"{self.path} start: {exc.message}{f'; it said: {errors[-500:]}' if errors else ''}"
            ) from exc
        endpoint.remember(bundle, found)
        return found

    async def _stdin(self, bundle: Bundle, options: AnyValue | None) -> bytes:
        """What it wants to read. Without options both generations do with nothing."""
        if options is None:
            return b""
        if self._version is None:
            # One more process, but only once: an old shim that reads a new message, or the reverse, goes astray.
            output, _ = await run([self.path, "-v"], cwd="/", env=os.environ, timeout=START_DEADLINE)
            found = _VERSION.search(output.decode(errors="replace"))
            self._version = (int(found[1]), int(found[2])) if found else (0, 0)
        if self._version >= _BOOTSTRAP:
            return self.addresses.bootstrap(bundle, options)
        from google.protobuf.any_pb2 import Any

        return Any(type_url=options.type_url, value=options.value).SerializeToString()

    async def delete(self, bundle: Bundle) -> Exit:
        command = [self.path, *self.addresses.arguments(bundle, "delete")]
        return await _delete(command, bundle, self.addresses.environment(bundle.namespace))


async def _delete(command: list[str], bundle: Bundle, environment: Mapping[str, str]) -> Exit:
    output, _ = await run(command, cwd=bundle.path, env=environment, timeout=DELETE_DEADLINE)
    try:
        found = pb.DeleteResponse.FromString(output)
    except DecodeError as exc:
        raise Internal(f"{os.path.basename(command[0])} delete answered with no DeleteResponse") from exc
    exited_at: datetime = moment(found.exited_at) if found.HasField("exited_at") else now()
    return Exit(found.pid, found.exit_status if output else KILLED, exited_at)


def shim_process(bundle: Bundle) -> HeldProcess | None:
    """The process of a shim that was just started, as it or its launcher wrote it down."""
    text = bundle.read(PID_FILE).strip()
    return HeldProcess.find(int(text)) if text.isdecimal() and len(text) < 10 else None


@attrs.frozen
class Launchers:
    """From names of runtimes to what starts their shims. Handlers come first, executables on PATH after them.

    ``handlers`` are those that are up, now and later; without a ``zygote`` they cannot serve.
    """

    handlers: Mapping[str, RuntimeHandler]
    zygote: Zygote | None
    addresses: Addresses
    sockets: str
    _binaries: dict[str, BinaryLauncher] = attrs.field(factory=dict)

    def find(self, runtime: str) -> Launcher:
        """The launcher for ``runtime``: a name (``io.containerd.runc.v2``) or an executable's absolute path.

        :raises NotFound: nothing provides it; says what was looked for.
        :raises InvalidArgument: it is neither.
        """
        handler = self._named().get(runtime)
        if handler is not None and self.zygote is not None:
            return ZygoteLauncher(handler, self.zygote, self.addresses, self.sockets)
        if os.path.isabs(runtime):
            if not os.access(runtime, os.X_OK) or os.path.isdir(runtime):
                raise NotFound(f"runtime {runtime!r}: there is no such executable")
            return self._binary(runtime)
        if not _NAME.match(runtime):
            raise InvalidArgument(
                f"{runtime[:200]!r} is not the name of a runtime",
                hint="expected is a name such as io.containerd.runc.v2 or the absolute path of a shim",
            )
        *_, name, version = runtime.split(".")
        executable = f"containerd-shim-{name}-{version}"
        path = find(executable)
        if path is None:
            known = ", ".join(sorted(self._named())) or "none"
            raise NotFound(
                f"runtime {runtime!r}: no plugin provides it and {executable} is not on PATH",
                hint=f"plugins provide: {known}",
            )
        return self._binary(path)

    def _named(self) -> dict[str, RuntimeHandler]:
        return {handler.name: handler for handler in self.handlers.values()}

    def _binary(self, path: str) -> BinaryLauncher:
        return self._binaries.setdefault(path, BinaryLauncher(path, self.addresses))
