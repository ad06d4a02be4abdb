"""The command line of shims (shim v2): ``start`` and ``delete`` of an executable."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping, Sequence

import attrs

from pycontainerd.api.anys import to_any
from pycontainerd.api.runtime.bootstrap.v1 import bootstrap_pb2 as boot
from pycontainerd.contracts.errors import DeadlineExceeded, FailedPrecondition, Internal
from pycontainerd.contracts.types import EMPTY, AnyValue

from .bundle import Bundle
from .endpoint import MAX_ANSWER

START_DEADLINE = 30.0
DELETE_DEADLINE = 30.0
_SHOWN = 2000  # characters of a shim's complaint that go into an error


@attrs.frozen
class Addresses:
    """Where shims find the daemon."""

    grpc: str
    ttrpc: str
    version: str = ""
    extra: Mapping[str, str] = EMPTY  # of the environment of every shim

    @property
    def publisher(self) -> str:
        """The executable that a shim may call to publish events; those of today call ttrpc instead."""
        return os.path.abspath(sys.argv[0]) if os.path.exists(sys.argv[0]) else sys.executable

    def environment(self, namespace: str) -> Mapping[str, str]:
        return {
            **os.environ,
            "GOMAXPROCS": "2",
            "MAX_SHIM_VERSION": "2",
            "TTRPC_ADDRESS": self.ttrpc,
            "GRPC_ADDRESS": self.grpc,
            "NAMESPACE": namespace,
            **self.extra,
        }

    def arguments(self, bundle: Bundle, action: str, *, debug: bool = False) -> list[str]:
        """What follows the executable's name."""
        place = ["-bundle", bundle.path] if action == "delete" else []
        return [
            *("-namespace", bundle.namespace, "-address", self.grpc, "-publish-binary", self.publisher),
            *("-id", bundle.id, *place, *(["-debug"] if debug else []), action),
        ]

    def bootstrap(self, bundle: Bundle, options: AnyValue) -> bytes:
        """What shims of containerd 2.3 and later read from their standard input."""
        return boot.BootstrapParams(
            instance_id=bundle.id,
            namespace=bundle.namespace,
            containerd_version=self.version,
            containerd_ttrpc_address=self.ttrpc,
            containerd_grpc_address=self.grpc,
            containerd_binary=self.publisher,
            extensions=[boot.Extension(value=to_any(options))],
        ).SerializeToString()


async def run(
    command: Sequence[str], *, cwd: str, env: Mapping[str, str], stdin: bytes = b"", timeout: float
) -> tuple[bytes, str]:
    """What ``command`` wrote to its output and, as text, to its error output.

    :raises FailedPrecondition: it cannot be executed.
    :raises Internal: it failed; the message has what it said.
    :raises DeadlineExceeded: it took longer than ``timeout`` seconds, and was killed.
    """
    shown = os.path.basename(command[0])
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            process_group=0,
        )
    except OSError as exc:
        raise FailedPrecondition(f"cannot execute {command[0]}: {exc.strerror or exc}") from exc
    try:
        async with asyncio.timeout(timeout):
            out, errors, _ = await asyncio.gather(_read(process.stdout), _read(process.stderr), _feed(process, stdin))
            status = await process.wait()
    except TimeoutError:
        raise DeadlineExceeded(f"{shown} {command[-1]} did not finish within {timeout:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    text = errors.decode(errors="replace").strip()
    if status != 0:
        said = text or out.decode(errors="replace").strip()
        raise Internal(f"{shown} {command[-1]} ended with status {status}: {said[-_SHOWN:] or 'it said nothing'}")
    return out, text


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All of a stream that fits in `MAX_ANSWER`; who writes more than that is stopped."""
    assert stream is not None
    found = b""
    while chunk := await stream.read(MAX_ANSWER + 1 - len(found)):
        found += chunk
        if len(found) > MAX_ANSWER:
            raise Internal(f"a shim wrote more than {MAX_ANSWER} bytes")
    return found


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # it does not want to know
    finally:
        process.stdin.close()


def find(name: str) -> str | None:
    """The executable ``name`` on PATH or beside this daemon's."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)
    return shutil.which(name) or (beside if os.access(beside, os.X_OK) else None)
