"""What the daemon knows of one task while it exists."""

from __future__ import annotations

import asyncio
import contextlib
import enum

import attrs
from google.protobuf.message import Message

from pycontainerd.contracts.errors import Aborted, ContainerdError, Unavailable
from pycontainerd.contracts.runtime import Exit

from .bundle import Bundle
from .journal import Journal
from .launcher import Launcher
from .logpipe import LogPipe
from .process import HeldProcess
from .shim import M, Shim

_EXIT_DEADLINE = 3.0


class Phase(enum.Enum):
    """Where a task is in its life. Only in LIVE does it answer calls."""

    RECOVERING = "recovering"
    CREATING = "being created"
    LIVE = "live"
    DELETING = "being deleted"
    GONE = "gone"


@attrs.define(eq=False)
class Task:
    """A task. From CREATING or RECOVERING it comes to LIVE, and over DELETING to GONE.

    ``lock`` is held by whoever creates, recovers or removes it; other calls go to the shim at the same time, which
    serialises them itself.
    """

    namespace: str
    id: str
    phase: Phase
    bundle: Bundle | None = None
    launcher: Launcher | None = None
    shim: Shim | None = None
    process: HeldProcess | None = None
    journal: Journal | None = None
    log: LogPipe | None = None
    pid: int = 0
    init: HeldProcess | None = None  # the container's first process
    guest: bool = False  # it lives in the shim of a sandbox, which is not ours to end
    settled: asyncio.Event = attrs.field(factory=asyncio.Event)
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    gone: asyncio.Future[Exit] = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def name(self) -> str:
        """For messages."""
        return f"task {self.id!r} in namespace {self.namespace!r}"

    def live(self) -> None:
        self.phase = Phase.LIVE
        self.settled.set()

    def end(self, exit: Exit | None) -> None:  # noqa: A002
        """It is gone; ``exit`` is told to those who still wait for it."""
        self.phase = Phase.GONE
        self.close()
        self.settled.set()
        if not self.gone.done():
            if exit is not None:
                self.gone.set_result(exit)
            else:
                self.gone.cancel()

    def close(self) -> None:
        """Let go of the shim, which lives on."""
        if self.log is not None:
            self.log.close()
        if self.shim is not None:
            self.shim.close()

    async def call(self, method: str, request: Message, response: type[M], timeout: float | None = None) -> M:
        """One call of its shim."""
        if self.shim is None:
            raise Unavailable(f"{self.name} has no shim: it is {self.phase.value}")
        return await self.shim.call(method, request, response, timeout)

    async def outlive(self) -> Exit:
        """How it ended, once what a dead shim left is cleaned up.

        :raises Aborted: nobody will know, because the daemon stops.
        """
        try:
            return await asyncio.shield(self.gone)
        except asyncio.CancelledError:
            if self.gone.cancelled():
                raise Aborted(f"the daemon lets go of {self.name}, which may be running", hint="ask again") from None
            raise

    async def stop_shim(self, *, shared: bool) -> None:
        """End its shim, unless other tasks need it; a shim that does not listen is killed."""
        if self.guest:
            return
        shim = self.shim
        if shim is None:
            if self.process is not None and not shared:
                self.process.kill()
            return
        if self.process is None and not shared:
            from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb

            with contextlib.suppress(ContainerdError):
                found = await shim.call("Connect", pb.ConnectRequest(id=self.id), pb.ConnectResponse, 1.0)
                self.process = HeldProcess.find(found.shim_pid)
        heard = await shim.shut_down(shared=shared)
        if self.process is None or shared:
            return
        # Its last events come before its end: so long the name must stay taken, or they would be another task's.
        if not heard or not await self.process.wait(_EXIT_DEADLINE):
            self.process.kill()
