"""Processes of containers as objects: their I/O, signals, and end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.runtime import Exit, ProcessInfo, ProcessState, Stdio
from pycontainerd.contracts.types import AnyValue
from pycontainerd.oci import from_any, process_any

from .fifo import Descriptors, Pump, attach, make_fifos, remove_fifos

if TYPE_CHECKING:
    from .client import Client

_OUTPUT_GRACE = 5  # seconds that output may lag behind the exit of a process (a child may hold it open for ever)


class Process:
    """A process in a container: its first one, or one that was added with `Task.exec`."""

    def __init__(self, client: Client, container_id: str, exec_id: str = "") -> None:
        self._client = client
        self.container_id = container_id
        self.exec_id = exec_id
        self.pid = 0
        self.io: Pump | None = None
        self._there = asyncio.Event()

    def exists(self) -> None:
        """The server knows it from now on; input that has ended already is closed then."""
        self._there.set()

    async def start(self) -> int:
        """Start it; returns its pid."""
        self.pid = await self._client.tasks.start(self.container_id, self.exec_id)
        return self.pid

    async def state(self) -> ProcessState:
        return await self._client.tasks.get(self.container_id, self.exec_id)

    async def kill(self, signal: int, *, everything: bool = False) -> None:
        await self._client.tasks.kill(self.container_id, signal, self.exec_id, everything=everything)

    async def wait(self) -> Exit:
        """Wait for its end."""
        return await self._client.tasks.wait(self.container_id, self.exec_id)

    async def resize(self, width: int, height: int) -> None:
        await self._client.tasks.resize(self.container_id, width, height, self.exec_id)

    async def close_stdin(self) -> None:
        await self._client.tasks.close_stdin(self.container_id, self.exec_id)

    async def drain(self) -> bool:
        """Wait until its output has arrived here; False when something still holds it open after a while."""
        if self.io is None:
            return True
        return await asyncio.get_running_loop().run_in_executor(None, self.io.wait_output, _OUTPUT_GRACE)

    async def delete(self) -> Exit:
        """Forget it, once its output has arrived. It must have ended, or never been started."""
        if self.io is not None:
            self.io.release()
            await self.drain()
        stdio = (await self.state()).stdio
        found = await self._client.tasks.delete(self.container_id, self.exec_id)
        if self.io is not None:
            self.io.close()
        remove_fifos(stdio)
        return found

    def connect(self, stdio: Stdio, here: Descriptors, directory: str) -> None:
        """Move bytes between the FIFOs ``stdio`` and descriptors ``here``; ``directory`` holds the FIFOs."""
        self.io = Pump(stdio, here, directory=directory, on_stdin_end=self._stdin_ended())

    def _stdin_ended(self) -> Callable[[], None]:
        loop = asyncio.get_running_loop()

        async def close() -> None:
            await self._there.wait()  # short input ends before the task is created, and closing it then closes nothing
            with contextlib.suppress(NotFound):  # it has ended and is gone
                await self.close_stdin()

        def ended() -> None:
            with contextlib.suppress(RuntimeError):  # our loop has ended before the input has
                asyncio.run_coroutine_threadsafe(close(), loop)

        return ended


class Task(Process):
    """The running (or created) side of a container; its first process."""

    async def pause(self) -> None:
        await self._client.tasks.pause(self.container_id)

    async def resume(self) -> None:
        await self._client.tasks.resume(self.container_id)

    async def pids(self) -> Sequence[ProcessInfo]:
        return await self._client.tasks.pids(self.container_id)

    async def attach(self, here: Descriptors) -> None:
        """Connect to its I/O."""
        self.exists()
        self.io = attach((await self.state()).stdio, here, self._stdin_ended())

    async def exec(
        self,
        exec_id: str,
        process: Mapping[str, Any],
        here: Descriptors | None = None,
        *,
        fifo_dir: str = "",
        log_uri: str = "",
    ) -> Process:
        """Add a process (as in a runtime spec); start it with `Process.start`."""
        added = Process(self._client, self.container_id, exec_id)
        stdio, directory = plan_io(exec_id, here, fifo_dir, log_uri)
        if here is not None and directory:
            added.connect(stdio, here, directory)
        try:
            await self._client.tasks.exec(self.container_id, exec_id, process_any(process), stdio)
        except BaseException:
            if added.io is not None:
                added.io.close()
            raise
        added.exists()
        return added


def plan_io(
    id: str,  # noqa: A002
    here: Descriptors | None,
    fifo_dir: str = "",
    log_uri: str = "",
) -> tuple[Stdio, str]:
    """The streams of a new process: FIFOs in a directory of their own, a log, or (``here`` is None) none."""
    if log_uri:
        uri = log_uri if "://" in log_uri else f"file://{log_uri}"
        return Stdio(stdout=uri, stderr=uri, terminal=bool(here and here.terminal)), ""
    if here is None:
        return Stdio(), ""
    return make_fifos(id, here, fifo_dir)


async def create_task(
    client: Client,
    container_id: str,
    here: Descriptors | None = None,
    *,
    fifo_dir: str = "",
    log_uri: str = "",
    detached: bool = False,
    options: AnyValue | None = None,
) -> Task:
    """Create the task of a container on its snapshot.

    ``here`` says where its I/O goes (None: nowhere). With ``detached`` no input is sent, so that whoever attaches later
    can; the FIFOs stay when this process ends.
    """
    container = await client.containers.get(container_id)
    mounts = (
        await client.snapshots(container.snapshotter).mounts(container.snapshot_key) if container.snapshot_key else []
    )
    terminal = bool(from_any(container.spec).get("process", {}).get("terminal"))
    if here is not None and here.terminal != terminal:
        here = Descriptors(here.stdin, here.stdout, here.stderr, terminal)
    task = Task(client, container_id)
    stdio, directory = plan_io(container_id, here, fifo_dir, log_uri)
    if log_uri or here is None:
        stdio = Stdio(stdio.stdin, stdio.stdout, "" if terminal else stdio.stderr, terminal)
    if here is not None and directory:
        # The output has to be read even then: a shim waits for its FIFOs to be opened at both ends.
        seen = Descriptors(None, here.stdout, here.stderr, here.terminal) if detached else here
        task.connect(stdio, seen, directory)
    try:
        task.pid = await client.tasks.create(container_id, mounts, stdio, options)
    except BaseException:
        if task.io is not None:
            task.io.close()
        raise
    task.exists()
    return task


async def load_task(client: Client, container_id: str) -> Task:
    """The task of a container that is there already.

    :raises NotFound: the container has no task.
    """
    task = Task(client, container_id)
    task.pid = (await task.state()).pid
    return task


def exec_process(
    spec: Mapping[str, Any], args: Sequence[str], *, cwd: str = "", terminal: bool = False
) -> dict[str, Any]:
    """The process of a container's spec with another command line, to be added to it."""
    process: dict[str, Any] = json.loads(json.dumps(spec.get("process", {})))
    process.update({"args": list(args), "terminal": terminal})
    if cwd:
        process["cwd"] = cwd
    return process
