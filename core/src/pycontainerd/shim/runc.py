"""The driver for runtimes with runc's command line."""

from __future__ import annotations

import os

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, Internal, InvalidArgument, NotFound

from . import files, loop, runtime_log
from .driver import Streams
from .messages import GENERIC_OPTIONS, RUNC_OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from .reaper import Reaper

    Options = dict[str, Any]  # of RUNC_OPTIONS

_DEFAULT_ROOT = "/run/containerd"
_PLUGIN = "io.containerd.runtime.v2.task"
_GONE = ("does not exist", "container not running", "process already finished", "no such process")


_NO_STREAMS = Streams({})


class RuncDriver:
    """Of the program ``binary``; ``hint`` says how to get it where it is missing. ``runtime`` is a class for programs that
    differ from runc in more than their name."""

    def __init__(
        self, binary: str = "runc", *, hint: str = "", runtime: Callable[..., RuncRuntime] | None = None
    ) -> None:
        self.binary = binary
        self.hint = hint
        self._runtime = runtime or RuncRuntime

    def runtime(
        self,
        reaper: Reaper,
        *,
        namespace: str,
        id: str,  # noqa: A002
        bundle: str,
        options: tuple[str, bytes],
    ) -> RuncRuntime:
        """See `Driver`."""
        chosen = parse_options(*options)
        root = f"{chosen['root'] or default_root(bundle)}/{namespace}"
        return self._runtime(reaper, self, id, bundle, root, chosen)


def parse_options(type_url: str, value: bytes) -> Options:
    """The options a client gave.

    :raises InvalidArgument: they are of another type, or not readable.
    """
    if not type_url:
        return RUNC_OPTIONS.defaults
    name = type_url.rpartition("/")[2]
    try:
        if name == RUNC_OPTIONS.name:
            return RUNC_OPTIONS.decode(value)
        if name == GENERIC_OPTIONS.name:
            return _from_generic(GENERIC_OPTIONS.decode(value))
    except ValueError as exc:
        raise InvalidArgument(f"the runtime options are not a readable {name}") from exc
    raise InvalidArgument(f"the runtime options are of type {name!r}", hint=f"runc takes {RUNC_OPTIONS.name}")


def _from_generic(generic: dict[str, Any]) -> Options:
    """Options as CRI passes those it does not know: TOML text with the names of the Go containerd."""
    text = generic["config_body"].decode(errors="replace")
    path = generic["config_path"]
    if not text and path:
        try:
            text = files.read_text(path)
        except OSError as exc:
            raise InvalidArgument(f"cannot read the runtime options at {path}: {exc}") from exc
    if not text:
        return RUNC_OPTIONS.defaults
    import tomllib

    try:
        given = tomllib.loads(text)
    except ValueError as exc:
        raise InvalidArgument(f"the runtime options are not TOML: {exc}") from exc
    options = {}
    for field, default in RUNC_OPTIONS.defaults.items():
        name = "".join(word.capitalize() for word in field.split("_"))
        options[field] = given.get(name, default)
        if type(options[field]) is not type(default):
            raise InvalidArgument(
                f"the runtime option {name} is {options[field]!r}, which is no {type(default).__name__}"
            )
    return options


def default_root(bundle: str) -> str:
    """Where the runtime keeps its state: beside the bundles of the same daemon, so that two daemons do not meet."""
    state, separator, _ = bundle.partition(f"/{_PLUGIN}/")
    return f"{state if separator else _DEFAULT_ROOT}/runc"


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
        self._log = f"{bundle}/log.json"
        self._binary = options["binary_name"] or driver.binary
        self.io_uid: int = options["io_uid"]
        self.io_gid: int = options["io_gid"]
        self.shim_cgroup: str = options["shim_cgroup"]

    async def create(self, streams: Streams, pid_file: str) -> None:
        flags = ["--pid-file", pid_file]
        if streams.console:
            flags += ["--console-socket", streams.console]
        if self._options["no_pivot_root"]:
            flags.append("--no-pivot")
        if self._options["no_new_keyring"]:
            flags.append("--no-new-keyring")
        await self._run("create", *flags, "--bundle", self._bundle, self._id, streams=streams)

    async def start(self) -> None:
        await self._run("start", self._id)

    async def exec(self, exec_id: str, process: bytes, streams: Streams, pid_file: str) -> None:
        spec = f"{self._bundle}/{exec_id}.process.json"
        log = f"{self._bundle}/{exec_id}.log.json"  # of its own: execs run side by side
        try:
            files.write_private(spec, process)
            flags = ["--pid-file", pid_file, *(["--console-socket", streams.console] if streams.console else [])]
            await self._run("exec", "--detach", "--process", spec, *flags, self._id, streams=streams, log=log)
        finally:
            files.unlink(spec)
            files.unlink(log)

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
        path = f"{self._bundle}/resources.json"
        try:
            files.write_private(path, resources)
            await self._run("update", "--resources", path, self._id)
        finally:
            files.unlink(path)

    async def pids(self) -> Sequence[int]:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        text = bytearray()
        ended = loop.Future()

        def ready() -> None:
            try:
                data = os.read(reading, 1 << 16)
            except BlockingIOError:
                return
            text.extend(data)
            if not data and not ended.done:
                ended.settle()

        loop.current().watch(reading, loop.READ, ready)
        try:
            import fcntl

            # With a number that no duplication into the new process can hit.
            high = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 10)
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
            loop.current().unwatch(reading)
            for fd in (reading, writing):
                if fd >= 0:
                    os.close(fd)
        import json

        try:
            return [int(pid) for pid in json.loads(text or b"[]") or ()]
        except (ValueError, TypeError) as exc:
            raise Internal(f"{self._binary} ps of {self._id} printed no list of pids: {text[:100]!r}") from exc

    def _run(
        self, verb: str, *arguments: str, streams: Streams = _NO_STREAMS, log: str = ""
    ) -> Coroutine[Any, Any, None]:
        """Start it; the rest is to wait for its end."""
        log = log or self._log
        return self._finish(verb, self._start(verb, arguments, streams, log), log)

    def _start(self, verb: str, arguments: Sequence[str], streams: Streams, log: str) -> tuple[loop.Future, int]:
        command = [self._binary, "--root", self._root, "--log", log, "--log-format", "json"]
        if self._options["systemd_cgroup"]:
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

    async def _finish(self, verb: str, running: tuple[loop.Future, int], log: str) -> None:
        ended, begin = running
        status = await ended
        if status:
            said = runtime_log.read_error(log, begin) or f"it ended with status {status} and gave no reason"
            raise _error(verb, f"OCI runtime {verb} of {self._id} failed: {self._binary}: {said}", said)


def _error(verb: str, message: str, said: str) -> ContainerdError:
    if verb in ("start", "exec", "pause", "resume", "update", "ps") and "does not exist" in said:
        return NotFound(message)
    return Internal(message)
