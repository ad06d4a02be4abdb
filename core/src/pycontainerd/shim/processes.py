"""The processes of a container: its first one and those executed in it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from pycontainerd.contracts.errors import ContainerdError, FailedPrecondition, Internal, NotFound
from pycontainerd.contracts.runtime import Stdio

from . import loop
from .driver import Runtime
from .reaper import Ended
from .states import State, check
from .stdio import ProcessIO


@attrs.define(eq=False)
class Process:
    """One. ``exec_id`` is empty for the container's first; ``spec`` is an exec's OCI process."""

    container: Container
    exec_id: str
    stdio: Stdio
    io: ProcessIO
    spec: bytes = b""
    pid: int = 0
    state: State = State.CREATED
    exit: Ended | None = None
    starting: bool = False  # its exit, should it come, waits until the start has been told
    early: Ended | None = None
    finished: loop.Event = attrs.field(factory=loop.Event)

    @property
    def name(self) -> str:
        """What errors call it."""
        if self.exec_id:
            return f"process {self.exec_id!r} of container {self.container.id!r}"
        return f"container {self.container.id!r}"

    @property
    def event_id(self) -> str:
        """Its id in exit events."""
        return self.exec_id or self.container.id

    def pid_file(self) -> str:
        return os.path.join(self.container.bundle, f"{self.exec_id}.pid" if self.exec_id else "init.pid")

    def ended(self, exit: Ended) -> None:  # noqa: A002
        """It is gone."""
        self.exit = exit
        self.state = State.STOPPED
        self.io.ended()
        self.finished.set()

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


@attrs.define(eq=False)
class Container:
    """A container that exists. Operations of its runtime come one after the other (`lock`), execs apart."""

    id: str
    bundle: str
    runtime: Runtime
    rootfs: str = ""  # where this shim has mounted something
    init: Process = attrs.field(init=False)
    execs: dict[str, Process] = attrs.field(factory=dict)
    active: int = 0  # execs being started or running
    quiet: loop.Event = attrs.field(factory=loop.Event)  # set when `active` falls to 0
    init_ended: bool = False
    pausing: bool = False
    lock: loop.Lock = attrs.field(factory=loop.Lock)

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
        with open(path, encoding="ascii") as file:
            return int(file.read(32))
    except (OSError, ValueError) as exc:
        failure: ContainerdError = Internal(f"the runtime left no pid in {path}: {exc}")
        raise failure from exc


def shares_pids(config: Mapping[str, object]) -> bool:
    """Whether processes of a container with this spec live on after its first one: it has no pid namespace of its own."""
    linux = config.get("linux")
    namespaces = linux.get("namespaces") if isinstance(linux, dict) else None
    for namespace in namespaces or ():
        if isinstance(namespace, dict) and namespace.get("type") == "pid":
            return bool(namespace.get("path"))
    return True
