"""The processes of a container: its first one and those executed in it."""

from __future__ import annotations

import os

from pycontainerd.contracts.errors import FailedPrecondition, Internal, NotFound

from . import files, loop
from .states import CREATED, STOPPED, check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .driver import Runtime
    from .reaper import Ended
    from .stdio import ProcessIO, Stdio


class Process:
    """One. ``exec_id`` is empty for the container's first; ``spec`` is an exec's OCI process."""

    __slots__ = (
        "container", "early", "exec_id", "exit", "finished", "io", "pid", "pid_file", "spec", "starting", "state", "stdio",
    )  # fmt: skip

    def __init__(self, container: Container, exec_id: str, stdio: Stdio, io: ProcessIO, spec: bytes = b"") -> None:
        self.container = container
        self.exec_id = exec_id
        self.stdio = stdio
        self.io = io
        self.spec = spec
        self.pid_file = f"{container.bundle}/{exec_id or 'init'}.pid"
        self.pid = 0
        self.state = CREATED
        self.exit: Ended | None = None
        self.starting = False  # its exit, should it come, waits until the start has been told
        self.early: Ended | None = None
        self.finished = loop.Future()

    @property
    def name(self) -> str:
        """What errors call it."""
        if self.exec_id:
            return f"process {self.exec_id!r} of container {self.container.id!r}"
        return f"container {self.container.id!r}"

    def read_pid(self) -> None:
        """Take the pid that the runtime wrote.

        :raises Internal: it wrote none.
        """
        self.pid = read_pid(self.pid_file)

    def ended(self, exit: Ended) -> None:  # noqa: A002
        """It is gone."""
        self.exit = exit
        self.state = STOPPED
        self.io.ended()
        self.finished.settle()

    def signal(self, number: int) -> None:
        """Send a signal. Its pid is ours until it is buried, so no other process can be hit.

        :raises NotFound: it has ended.
        :raises FailedPrecondition: it was not started.
        """
        check("kill", self.state, self.name)
        if not self.pid:
            raise FailedPrecondition(f"cannot kill {self.name}: it was not started")
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            raise NotFound(f"cannot kill {self.name}: it has ended") from None
        except (OSError, OverflowError) as exc:
            raise FailedPrecondition(f"cannot send signal {number} to {self.name}: {exc}") from exc


class Container:
    """A container that exists. Operations of its runtime come one after the other (`lock`), execs apart."""

    __slots__ = (
        "active",
        "bundle",
        "execs",
        "id",
        "init",
        "init_ended",
        "lock",
        "pausing",
        "quiet",
        "rootfs",
        "runtime",
    )

    init: Process

    def __init__(self, id: str, bundle: str, runtime: Runtime) -> None:  # noqa: A002
        self.id = id
        self.bundle = bundle
        self.runtime = runtime
        self.rootfs = ""  # where this shim has mounted something
        self.execs: dict[str, Process] = {}
        self.active = 0  # execs being started or running
        self.quiet = loop.Event()  # set when `active` falls to 0
        self.init_ended = False
        self.pausing = False
        self.lock = loop.Lock()

    def process(self, exec_id: str) -> Process:
        """The process of that id.

        :raises NotFound: there is none.
        """
        if not exec_id:
            return self.init
        try:
            return self.execs[exec_id]
        except KeyError:
            raise NotFound(f"container {self.id!r} has no process {exec_id!r}") from None

    def exec_begins(self) -> None:
        """Count an exec in.

        :raises FailedPrecondition: the container has ended.
        """
        if self.init_ended:
            raise FailedPrecondition(f"container {self.id!r} is not running")
        self.active += 1

    def exec_over(self) -> None:
        """Count it out."""
        self.active -= 1
        if self.active == 0:
            self.quiet.set()

    async def no_execs(self) -> None:
        """Return when the last exec has been told of."""
        while self.active:
            self.quiet.clear()
            await self.quiet.wait()


def read_pid(path: str) -> int:
    """The pid that a runtime wrote.

    :raises Internal: it wrote none.
    """
    try:
        return int(files.read(path, 32))
    except (OSError, ValueError) as exc:
        raise Internal(f"the runtime left no pid in {path}: {exc}") from exc


def shares_pids(config: Mapping[str, object]) -> bool:
    """Whether processes of a container with this spec live on after its first one: it has no pid namespace of its own."""
    linux = config.get("linux")
    namespaces = linux.get("namespaces") if isinstance(linux, dict) else None
    for namespace in namespaces or ():
        if isinstance(namespace, dict) and namespace.get("type") == "pid":
            return bool(namespace.get("path"))
    return True
