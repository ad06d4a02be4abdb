"""The driver for runtimes with runc's command line."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence

import attrs
from google.protobuf.message import DecodeError

from pycontainerd.api.types.runc.options.oci_pb2 import Options
from pycontainerd.api.types.runtimeoptions.v1.api_pb2 import Options as GenericOptions
from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, Internal, InvalidArgument, NotFound
from pycontainerd.contracts.types import AnyValue

from . import loop, runtime_log
from .driver import Streams
from .reaper import Reaper

_DEFAULT_ROOT = "/run/containerd"
_PLUGIN = "io.containerd.runtime.v2.task"
_GONE = ("does not exist", "container not running", "process already finished", "no such process")


@attrs.frozen
class RuncDriver:
    """Of the program ``binary``; ``hint`` says how to get it where it is missing."""

    binary: str = "runc"
    hint: str = ""

    def runtime(
        self,
        reaper: Reaper,
        *,
        namespace: str,
        id: str,  # noqa: A002
        bundle: str,
        options: AnyValue | None,
    ) -> RuncRuntime:
        """See `Driver`."""
        chosen = parse_options(options)
        root = os.path.join(chosen.root or default_root(bundle), namespace)
        return RuncRuntime(reaper, self, id, bundle, root, chosen)


def parse_options(options: AnyValue | None) -> Options:
    """The options a client gave.

    :raises InvalidArgument: they are of another type, or not readable.
    """
    if options is None or not options.type_url:
        return Options()
    name = options.type_url.rpartition("/")[2]
    try:
        if name == Options.DESCRIPTOR.full_name:
            return Options.FromString(options.value)
        if name == GenericOptions.DESCRIPTOR.full_name:
            return _from_generic(GenericOptions.FromString(options.value))
    except DecodeError as exc:
        raise InvalidArgument(f"the runtime options are not a readable {name}") from exc
    raise InvalidArgument(
        f"the runtime options are of type {name!r}", hint=f"runc takes {Options.DESCRIPTOR.full_name}"
    )


def _from_generic(generic: GenericOptions) -> Options:
    """Options as CRI passes those it does not know: TOML text with the names of the Go containerd."""
    text = generic.config_body.decode(errors="replace")
    if not text and generic.config_path:
        try:
            with open(generic.config_path, encoding="utf-8") as file:
                text = file.read(1 << 20)
        except OSError as exc:
            raise InvalidArgument(f"cannot read the runtime options at {generic.config_path}: {exc}") from exc
    if not text:
        return Options()
    import tomllib

    try:
        fields = tomllib.loads(text)
        return Options(
            binary_name=fields.get("BinaryName", ""),
            root=fields.get("Root", ""),
            systemd_cgroup=fields.get("SystemdCgroup", False),
            no_pivot_root=fields.get("NoPivotRoot", False),
            no_new_keyring=fields.get("NoNewKeyring", False),
            shim_cgroup=fields.get("ShimCgroup", ""),
            io_uid=fields.get("IoUid", 0),
            io_gid=fields.get("IoGid", 0),
        )
    except (ValueError, TypeError) as exc:
        raise InvalidArgument(f"the runtime options are not TOML that runc understands: {exc}") from exc


def default_root(bundle: str) -> str:
    """Where the runtime keeps its state: beside the bundles of the same daemon, so that two daemons do not meet."""
    state, separator, _ = bundle.partition(f"/{_PLUGIN}/")
    return os.path.join(state if separator else _DEFAULT_ROOT, "runc")


class RuncRuntime:
    """One container of a runc-like runtime. See `driver.Runtime`."""

    def __init__(
        self,
        reaper: Reaper,
        driver: RuncDriver,
        id: str,  # noqa: A002
        bundle: str,
        root: str,
        options: Options,
    ) -> None:
        self._reaper = reaper
        self._driver = driver
        self._id = id
        self._bundle = bundle
        self._root = root
        self._options = options
        self._log = os.path.join(bundle, "log.json")
        self.io_uid = int(options.io_uid)
        self.io_gid = int(options.io_gid)
        self.shim_cgroup = str(options.shim_cgroup)

    @property
    def binary(self) -> str:
        return self._options.binary_name or self._driver.binary

    async def create(self, streams: Streams, pid_file: str) -> None:
        await self._run("create", *self._flags(streams, pid_file), "--bundle", self._bundle, self._id, streams=streams)

    def _flags(self, streams: Streams, pid_file: str) -> list[str]:
        flags = ["--pid-file", pid_file]
        if streams.console:
            flags += ["--console-socket", streams.console]
        if self._options.no_pivot_root:
            flags.append("--no-pivot")
        if self._options.no_new_keyring:
            flags.append("--no-new-keyring")
        return flags

    async def start(self) -> None:
        await self._run("start", self._id)

    async def exec(self, exec_id: str, process: bytes, streams: Streams, pid_file: str) -> None:
        spec = os.path.join(self._bundle, f"{exec_id}.process.json")
        log = os.path.join(self._bundle, f"{exec_id}.log.json")  # of its own: execs run side by side
        try:
            write_private(spec, process)
            flags = ["--pid-file", pid_file, *(["--console-socket", streams.console] if streams.console else [])]
            await self._run("exec", "--detach", "--process", spec, *flags, self._id, streams=streams, log=log)
        finally:
            for path in (spec, log):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    async def kill(self, signal: int, *, everyone: bool = False) -> None:
        try:
            await self._run("kill", *(["--all"] if everyone else []), self._id, str(signal))
        except Internal as exc:
            if any(word in exc.message.lower() for word in _GONE):
                raise NotFound(f"cannot signal the processes of {self._id}: they have ended") from exc
            raise

    async def delete(self, *, force: bool = False) -> None:
        try:
            await self._run("delete", *(["--force"] if force else []), self._id)
        except Internal as exc:
            if "does not exist" not in exc.message:
                raise

    async def pause(self) -> None:
        await self._run("pause", self._id)

    async def resume(self) -> None:
        await self._run("resume", self._id)

    async def update(self, resources: bytes) -> None:
        path = os.path.join(self._bundle, "resources.json")
        try:
            write_private(path, resources)
            await self._run("update", "--resources", path, self._id)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    async def pids(self) -> Sequence[int]:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        text = bytearray()
        ended: loop.Future[None] = loop.Future()

        def ready() -> None:
            try:
                data = os.read(reading, 1 << 16)
            except BlockingIOError:
                return
            text.extend(data)
            if not data and not ended.done():
                ended.set_result(None)

        loop.current().add_reader(reading, ready)
        try:
            high = _above(writing)
            os.set_blocking(high, True)
            try:
                running = self._start("ps", ["--format", "json", self._id], Streams({1: high}), self._log)
            finally:
                os.close(high)
            os.close(writing)
            writing = -1
            await self._finish("ps", running, self._log)
            await ended
        finally:
            loop.current().remove_reader(reading)
            for fd in (reading, writing):
                if fd >= 0:
                    os.close(fd)
        try:
            return [int(pid) for pid in json.loads(text or b"[]") or ()]
        except (ValueError, TypeError) as exc:
            raise Internal(f"{self.binary} ps of {self._id} printed no list of pids: {text[:100]!r}") from exc

    async def _run(self, verb: str, *arguments: str, streams: Streams | None = None, log: str = "") -> None:
        log = log or self._log
        await self._finish(verb, self._start(verb, list(arguments), streams or Streams(), log), log)

    def _start(self, verb: str, arguments: list[str], streams: Streams, log: str) -> tuple[loop.Future[int], int]:
        command = [self.binary, "--root", self._root, "--log", log, "--log-format", "json"]
        if self._options.systemd_cgroup:
            command.append("--systemd-cgroup")
        begin = runtime_log.size(log)
        try:
            _, ended = self._reaper.spawn(
                [*command, verb, *arguments], descriptors=streams.descriptors, hint=self._driver.hint
            )
        except NotFound as exc:
            # Not NotFound: a client would take it for a missing container.
            raise FailedPrecondition(f"cannot {verb} container {self._id}: {exc.message}", hint=exc.hint) from exc
        return ended, begin

    async def _finish(self, verb: str, running: tuple[loop.Future[int], int], log: str) -> None:
        ended, begin = running
        status = await ended
        if status:
            said = runtime_log.read_error(log, begin) or f"it ended with status {status} and gave no reason"
            raise _error(verb, f"OCI runtime {verb} of {self._id} failed: {self.binary}: {said}", said)


def _error(verb: str, message: str, said: str) -> ContainerdError:
    if verb in ("start", "exec", "pause", "resume", "update", "ps") and "does not exist" in said:
        return NotFound(message)
    return Internal(message)


def _above(fd: int) -> int:
    """A duplicate with a number that no duplication into a new process can hit."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def write_private(path: str, data: bytes) -> None:
    """Write a file that only we may read, never through a link."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
