"""The containers of a shim: what happens to them, in what order it is told, and that nothing is left."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pycontainerd.api.events import task_pb2 as events
from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pycontainerd.contracts.runtime import Stdio, TaskCreation
from pycontainerd.contracts.service import validate_identifier
from pycontainerd.contracts.types import Mount
from pycontainerd.sys.mount import mount_all, translate, unmount_recursive

from . import cgroup, loop, oom
from .driver import Driver
from .processes import Container, Process, read_pid, shares_pids
from .publisher import Publisher
from .reaper import Ended, Reaper
from .states import State, check
from .stdio import ProcessIO

log = logging.getLogger("containerd.shim")

M = TypeVar("M", bound=Message)


def stamp(nanoseconds: int) -> Timestamp:
    """A time on the wire."""
    result = Timestamp()
    result.FromNanoseconds(nanoseconds)
    return result


class Shim:
    """Everything a shim knows. Use from its event loop."""

    namespace: str
    _driver: Driver

    def __init__(self, publisher: Publisher) -> None:
        self.containers: dict[str, Container] = {}
        self.stopping = loop.Event()
        self.reaper = Reaper(self._child_ended)
        self._publisher = publisher
        self._creating: set[str] = set()
        self._running: dict[int, Process] = {}
        self._starts = 0
        self._unclaimed: dict[int, Ended] = {}  # ends of children that nobody has claimed yet, while something starts
        self._watchers: dict[str, oom.Watcher] = {}

    def assign(self, namespace: str, driver: Driver) -> None:
        """Whose containers they are to be, and how they are made."""
        self.namespace = namespace
        self._driver = driver

    def container(self, id: str) -> Container:  # noqa: A002
        """:raises NotFound: there is no such container."""
        try:
            return self.containers[id]
        except KeyError:
            raise NotFound(f"the shim has no container {id!r}") from None

    # -- children ---------------------------------------------------------------------------------------------------

    def _child_ended(self, pid: int, exit: Ended) -> None:  # noqa: A002
        process = self._running.pop(pid, None)
        if process is None:
            if self._starts:
                self._unclaimed[pid] = exit
        elif process.starting:
            process.early = exit
        else:
            self._over(process, exit)

    @contextlib.contextmanager
    def _claiming(self) -> Iterator[None]:
        """While something starts, keep the ends of children that are not known yet."""
        self._starts += 1
        try:
            yield
        finally:
            self._starts -= 1
            if not self._starts:
                self._unclaimed.clear()

    def _claim(self, process: Process) -> None:
        """``process`` has its pid: from now on its end is known as its own, even if it came already."""
        exit = self._unclaimed.pop(process.pid, None)  # noqa: A001
        if exit is None:
            self._running[process.pid] = process
        elif process.starting:
            process.early = exit
        else:
            self._over(process, exit)

    def _told(self, process: Process) -> None:
        """The start has been told, so the end may be."""
        process.starting = False
        early, process.early = process.early, None
        if early is not None:
            self._over(process, early)

    def _over(self, process: Process, exit: Ended) -> None:  # noqa: A002
        if process.exec_id:
            self._tell_exit(process, exit)
            process.container.exec_over()
        else:
            process.container.init_ended = True
            loop.spawn(self._container_over(process, exit))

    async def _container_over(self, init: Process, exit: Ended) -> None:  # noqa: A002
        """The end of a container is told last, after that of every process in it."""
        container = init.container
        if shares_pids(_config(container.bundle)):
            try:
                await container.runtime.kill(9, everyone=True)
            except NotFound:
                pass
            except ContainerdError as exc:
                log.warning(f"cannot kill what is left of container {container.id}: {exc}")
        await container.no_execs()
        watcher = self._watchers.pop(container.id, None)
        if watcher is not None:
            watcher.close()
        self._tell_exit(init, exit)

    def _tell_exit(self, process: Process, exit: Ended) -> None:  # noqa: A002
        process.ended(exit)
        self._publisher.publish(
            events.TaskExit(
                container_id=process.container.id,
                id=process.event_id,
                pid=process.pid,
                exit_status=exit.status,
                exited_at=stamp(exit.at),
            )
        )

    # -- containers -------------------------------------------------------------------------------------------------

    async def create(self, creation: TaskCreation, bundle: str) -> int:
        """Make a container; when this fails, nothing is left of it."""
        validate_identifier(creation.id, "container id")
        if creation.checkpoint:
            raise InvalidArgument(f"cannot restore {creation.id!r} from a checkpoint: this shim does not do that")
        if creation.id in self.containers or creation.id in self._creating:
            raise AlreadyExists(f"the shim has a container {creation.id!r} already")
        bundle = check_bundle(bundle)
        self._creating.add(creation.id)
        try:
            with self._claiming():
                return await self._create(creation, bundle)
        finally:
            self._creating.discard(creation.id)

    async def _create(self, creation: TaskCreation, bundle: str) -> int:
        runtime = self._driver.runtime(
            self.reaper, namespace=self.namespace, id=creation.id, bundle=bundle, options=creation.options
        )
        container = Container(creation.id, bundle, runtime)
        _remember_options(bundle, creation)
        cgroup.join(runtime.shim_cgroup)
        if creation.rootfs:
            container.rootfs = mount_rootfs(creation.rootfs, bundle)
        try:
            container.init = await self._create_init(container, creation.stdio)
        except BaseException:
            await self._undo(container)
            raise
        init = container.init
        self.containers[creation.id] = container
        self._publisher.publish(self._create_event(creation, bundle, init.pid))
        self._watch(container)
        self._claim(init)
        return init.pid

    async def _create_init(self, container: Container, stdio: Stdio) -> Process:
        runtime = container.runtime
        init = Process(container, "", stdio, self._io(container, stdio, container.id))
        streams = await init.io.prepare()
        try:
            await runtime.create(streams, init.pid_file())
            init.pid = read_pid(init.pid_file())
            await init.io.connect()
        except BaseException:
            await init.io.abandon()
            raise
        return init

    def _io(self, container: Container, stdio: Stdio, id: str) -> ProcessIO:  # noqa: A002
        owner = (container.runtime.io_uid, container.runtime.io_gid)
        return ProcessIO(self.reaper, stdio, id=id, namespace=self.namespace, owner=owner)

    async def _undo(self, container: Container) -> None:
        with contextlib.suppress(ContainerdError):  # the first error is the one to tell
            await container.runtime.delete(force=True)
        try:
            if container.rootfs:
                unmount_recursive(container.rootfs)
        except ContainerdError as exc:
            log.warning(f"cannot unmount the root of {container.id} after a failed create: {exc}")
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(container.bundle, "init.pid"))

    @staticmethod
    def _create_event(creation: TaskCreation, bundle: str, pid: int) -> events.TaskCreate:
        from pycontainerd.api.convert import mount_messages

        stdio = creation.stdio
        return events.TaskCreate(
            container_id=creation.id,
            bundle=bundle,
            rootfs=mount_messages(creation.rootfs),
            io=events.TaskIO(stdin=stdio.stdin, stdout=stdio.stdout, stderr=stdio.stderr, terminal=stdio.terminal),
            checkpoint=creation.checkpoint,
            pid=pid,
        )

    def _watch(self, container: Container) -> None:
        try:
            found = oom.watch(
                container.init.pid, lambda: self._publisher.publish(events.TaskOOM(container_id=container.id))
            )
        except OSError as exc:
            log.warning(f"cannot watch container {container.id} for running out of memory: {exc}")
            return
        if found is not None:
            self._watchers[container.id] = found

    async def start(self, id: str, exec_id: str) -> int:  # noqa: A002
        """Start what was created or added."""
        container = self.container(id)
        process = container.process(exec_id)
        check("start", process.state, process.name)
        if process.starting:
            raise FailedPrecondition(f"cannot start {process.name}: it is being started")
        process.starting = True
        with self._claiming():
            if exec_id:
                await self._start_exec(container, process)
            else:
                await self._start_init(container, process)
        return process.pid

    async def _start_init(self, container: Container, init: Process) -> None:
        try:
            async with container.lock:
                await container.runtime.start()
            if init.state is State.CREATED:
                init.state = State.RUNNING
            self._publisher.publish(events.TaskStart(container_id=container.id, pid=init.pid))
        finally:
            self._told(init)

    async def _start_exec(self, container: Container, process: Process) -> None:
        try:
            container.exec_begins()
        except BaseException:
            process.starting = False
            raise
        try:
            streams = await process.io.prepare()
            try:
                await container.runtime.exec(process.exec_id, process.spec, streams, process.pid_file())
                process.pid = read_pid(process.pid_file())
                await process.io.connect()
            except BaseException:
                await process.io.abandon()
                raise
        except BaseException:
            process.starting = False
            process.state = State.STOPPED
            container.exec_over()
            raise
        process.state = State.RUNNING
        self._publisher.publish(
            events.TaskExecStarted(container_id=container.id, exec_id=process.exec_id, pid=process.pid)
        )
        process.starting = False
        self._claim(process)

    def add_exec(self, id: str, exec_id: str, spec: bytes, stdio: Stdio) -> None:  # noqa: A002
        """Add a process to start later."""
        container = self.container(id)
        validate_identifier(exec_id, "exec id")
        check("exec in", container.init.state, container.init.name)
        if container.pausing:
            raise FailedPrecondition(f"cannot exec in {container.init.name}: it is being paused")
        if exec_id in container.execs:
            raise AlreadyExists(f"container {id!r} has a process {exec_id!r} already")
        io = self._io(container, stdio, exec_id)
        container.execs[exec_id] = Process(container, exec_id, stdio, io, spec=exec_spec(spec, stdio.terminal))
        self._publisher.publish(events.TaskExecAdded(container_id=id, exec_id=exec_id))

    async def kill(self, id: str, exec_id: str, number: int, *, everyone: bool) -> None:  # noqa: A002
        """Send a signal."""
        container = self.container(id)
        process = container.process(exec_id)
        if not 0 < number < 65:
            raise InvalidArgument(f"cannot kill {process.name}: there is no signal {number}")
        if exec_id or not (everyone or process.state is State.PAUSED):
            process.signal(number)
            return
        if not everyone:
            check("kill", process.state, process.name)
        await container.runtime.kill(number, everyone=everyone)

    async def pause(self, id: str) -> None:  # noqa: A002
        """Freeze every process."""
        container = self.container(id)
        async with container.lock:
            check("pause", container.init.state, container.init.name)
            container.pausing = True
            try:
                await container.runtime.pause()
            finally:
                container.pausing = False
            if container.init.state is State.RUNNING:
                container.init.state = State.PAUSED
        self._publisher.publish(events.TaskPaused(container_id=id))

    async def resume(self, id: str) -> None:  # noqa: A002
        """Let them run again."""
        container = self.container(id)
        async with container.lock:
            check("resume", container.init.state, container.init.name)
            await container.runtime.resume()
            if container.init.state is State.PAUSED:
                container.init.state = State.RUNNING
        self._publisher.publish(events.TaskResumed(container_id=id))

    async def update(self, id: str, resources: bytes) -> None:  # noqa: A002
        """Change the limits."""
        container = self.container(id)
        async with container.lock:
            check("update", container.init.state, container.init.name)
            await container.runtime.update(resources)

    async def delete(self, id: str, exec_id: str) -> Process:  # noqa: A002
        """Remove a process that has ended, the container with its first one."""
        container = self.container(id)
        process = container.process(exec_id)
        if exec_id:
            check("delete", process.state, process.name)
            await process.io.drain()
            container.execs.pop(exec_id, None)
            process.state = State.DELETED
            with contextlib.suppress(OSError):
                os.unlink(process.pid_file())
            return process
        async with container.lock:
            check("delete", process.state, process.name)
            if process.starting:
                raise FailedPrecondition(f"cannot delete {process.name}: it is being started")
            await self._delete_container(container)
        return process

    async def _delete_container(self, container: Container) -> None:
        init = container.init
        if init.exit is not None:
            await init.io.drain()
        for process in list(container.execs.values()):
            await process.io.drain()
        await container.runtime.delete()
        if init.exit is None:  # created, never started: the runtime has just killed it
            await init.finished.wait()
        await init.io.abandon()
        if container.rootfs:
            unmount_recursive(container.rootfs)
        init.state = State.DELETED
        self.containers.pop(container.id, None)
        ended = init.exit or Ended(137, 0)
        self._publisher.publish(
            events.TaskDelete(
                container_id=container.id,
                pid=init.pid,
                exit_status=ended.status,
                exited_at=stamp(ended.at),
                id="",
            )
        )

    async def close(self) -> None:
        """Tell what is left to tell."""
        await self._publisher.close()


def check_bundle(bundle: str) -> str:
    """``bundle`` if it can be one.

    :raises InvalidArgument: it is no absolute path, or no directory.
    :raises NotFound: it is not there.
    """
    if not os.path.isabs(bundle):
        raise InvalidArgument(f"the bundle {bundle!r} is not an absolute path")
    try:
        mode = os.lstat(bundle).st_mode
        os.stat(os.path.join(bundle, "config.json"))
    except OSError as exc:
        raise translate(exc, f"open the bundle {bundle}") from exc
    if not stat.S_ISDIR(mode):
        raise InvalidArgument(f"the bundle {bundle} is not a directory")
    return bundle


def mount_rootfs(mounts: Sequence[Mount], bundle: str) -> str:
    """Mount the container's root in its bundle; the mount point. Blocks for as long as the kernel takes, which for
    overlays and binds is less than a thread would cost.

    :raises ContainerdError: it cannot be mounted; nothing stays mounted.
    """
    rootfs = os.path.join(bundle, "rootfs")
    with contextlib.suppress(FileExistsError):
        os.mkdir(rootfs, 0o711)
    if not stat.S_ISDIR(os.lstat(rootfs).st_mode):
        raise InvalidArgument(f"{rootfs} is not a directory")
    mount_all(mounts, rootfs)
    return rootfs


def exec_spec(spec: bytes, terminal: bool) -> bytes:
    """The OCI process of an exec, with ``terminal`` as the client wants it.

    :raises InvalidArgument: it is not a JSON object.
    """
    try:
        process = json.loads(spec)
    except ValueError as exc:
        raise InvalidArgument(f"the spec of the process is not JSON: {exc}") from exc
    if not isinstance(process, dict):
        raise InvalidArgument("the spec of the process is not a JSON object")
    process["terminal"] = terminal
    return json.dumps(process).encode()


def _config(bundle: str) -> dict[str, object]:
    try:
        with open(os.path.join(bundle, "config.json"), "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember_options(bundle: str, creation: TaskCreation) -> None:
    """Keep the options for who cleans up should this process die."""
    from .runc import write_private

    options = creation.options
    if options is not None and options.type_url:
        write_private(os.path.join(bundle, "options.pb"), f"{options.type_url}\n".encode() + options.value)
