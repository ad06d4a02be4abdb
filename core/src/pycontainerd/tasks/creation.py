"""Creating a task: bundle, shim, container; or nothing of all that."""

from __future__ import annotations

import asyncio

import attrs

from pycontainerd.api.runtime.task.v3 import shim_pb2 as pb
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.runtime import TaskCreation
from pycontainerd.kernel.context import Logger

from . import bundle as bundles
from . import convert, endpoint
from .bundle import Bundle
from .deletion import Undertaker
from .edits import SpecEdits
from .endpoint import Endpoint
from .journal import Journal
from .launcher import Launchers, shim_process
from .logpipe import LogPipe
from .process import HeldProcess
from .shim import Shim
from .task import Task

SANDBOX_FILE = "sandbox"


@attrs.frozen
class Creator:
    """Makes what a reserved `Task` needs."""

    root: str
    state: str
    launchers: Launchers
    undertaker: Undertaker
    log: Logger
    edits: SpecEdits = attrs.Factory(SpecEdits)

    async def create(self, task: Task, creation: TaskCreation) -> int:
        """The pid of the container's first process; ``task`` is live then. When it fails, ``task`` is gone."""
        async with task.lock:
            try:
                await self._create(task, creation)
            except BaseException as exc:
                self.log.info("a task was not created", id=task.id, namespace=task.namespace, error=str(exc))
                await self.undertaker.discard(task)
                raise
            task.live()
        self.undertaker.watch(task)
        return task.pid

    async def _create(self, task: Task, creation: TaskCreation) -> None:
        launcher = self.launchers.find(creation.runtime)
        creation = await self.edits.edited(task.namespace, creation)
        bundle = await asyncio.to_thread(bundles.create, self.root, self.state, task.namespace, task.id, creation.spec)
        task.bundle = bundle
        task.journal = Journal(bundle)
        if creation.address:
            found = self._guest(bundle, creation)
            task.guest = True
        else:
            task.launcher = launcher
            if launcher.logs:
                task.log = open_log(bundle, self.log)
            try:
                found = await launcher.start(bundle, creation.options)
            finally:
                task.process = shim_process(bundle)
        task.shim = await Shim.connect(bundle, found, lambda: self.undertaker.disconnected(task))
        response = await task.call("Create", convert.create_request(creation, bundle), pb.CreateTaskResponse)
        task.pid = response.pid
        task.init = HeldProcess.find(response.pid)

    def _guest(self, bundle: Bundle, creation: TaskCreation) -> Endpoint:
        """The endpoint of a sandbox's shim (``ttrpc+unix://PATH``), kept in the bundle."""
        protocol, plus, address = creation.address.partition("+")
        if not plus or protocol != "ttrpc":
            raise InvalidArgument(
                f"cannot create task {creation.id!r}: {creation.address[:200]!r} is not the address of a sandbox's shim",
                hint="expected is ttrpc+unix://PATH",
            )
        found = Endpoint(address)
        endpoint.remember(bundle, found)
        bundle.write(SANDBOX_FILE, creation.address)
        return found


def open_log(bundle: Bundle, log: Logger) -> LogPipe | None:
    """Pass on what a shim logs; a task whose shim cannot be heard still runs."""

    def write(line: str) -> None:
        say = log.warning if any(level in line for level in ("level=error", "level=warn", "level=fatal")) else log.debug
        say(f"shim: {line}", id=bundle.id, namespace=bundle.namespace)

    try:
        return LogPipe(bundle.file("log"), write)
    except OSError as exc:
        log.warning("cannot hear a shim's log", id=bundle.id, namespace=bundle.namespace, error=str(exc))
        return None
