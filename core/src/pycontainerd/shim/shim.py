"""The containers of a shim: what happens to them, in what order it is told, and that nothing is left."""

from __future__ import annotations

from pycontainerd.contracts.errors import (
    AlreadyExists,
    ContainerdError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pycontainerd.contracts.identifiers import validate_identifier
from pycontainerd.sys.mountcalls import unmount_recursive

from . import cgroup, files, log, loop, messages, oom
from .bundle import check_bundle, exec_spec, mount_rootfs, read_spec, remember_options
from .messages import stamp
from .processes import Container, Process, shares_pids
from .publisher import EXIT
from .reaper import Ended, Reaper
from .states import CREATED, DELETED, PAUSED, RUNNING, STOPPED, check
from .stdio import ProcessIO, Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .driver import Driver
    from .publisher import Publisher


class Shim:
    """Everything a shim knows. Use from its event loop."""

    namespace: str
    driver: Driver

    def __init__(self, publisher: Publisher) -> None:
        self.containers: dict[str, Container] = {}
        self.stopping = loop.Future()
        self.reaper = Reaper(self._child_ended)
        self._publisher = publisher
        self._creating: set[str] = set()
        self._running: dict[int, Process] = {}
        self._starts = 0
        self._unclaimed: dict[int, Ended] = {}  # ends of children that nobody has claimed yet, while something starts
        self._watchers: dict[str, oom.Watcher] = {}

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

    def _claimed(self) -> None:
        """A start is over; while there was one (`_starts`), the ends of children that were not known yet were kept."""
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
        if shares_pids(read_spec(container.bundle)):
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
            EXIT,
            messages.TASK_EXIT,
            container_id=process.container.id,
            id=process.exec_id or process.container.id,
            pid=process.pid,
            exit_status=exit.status,
            exited_at=stamp(exit.at),
        )

    # -- containers -------------------------------------------------------------------------------------------------

    async def create(self, request: dict[str, Any]) -> int:
        """Make a container; its pid. When this fails, nothing is left of it."""
        id = request["id"]  # noqa: A001
        self._check_new(request)
        self._creating.add(id)
        self._starts += 1
        try:
            container = self._make(request)
            init = container.init
            try:
                await container.runtime.create(await init.io.prepare(), init.pid_file)
                init.read_pid()
                await init.io.connect()
            except BaseException:
                await init.io.abandon()
                await self._undo(container)
                raise
            self._created(container, request["rootfs"])
            return init.pid
        finally:
            self._claimed()
            self._creating.discard(id)

    def _check_new(self, request: dict[str, Any]) -> None:
        id = request["id"]  # noqa: A001
        validate_identifier(id, "container id")
        if request["checkpoint"]:
            raise InvalidArgument(f"cannot restore {id!r} from a checkpoint: this shim does not do that")
        if id in self.containers or id in self._creating:
            raise AlreadyExists(f"the shim has a container {id!r} already")
        check_bundle(request["bundle"])

    def _make(self, request: dict[str, Any]) -> Container:
        """A container, and its root mounted, before the runtime knows of it."""
        id, bundle, given = request["id"], request["bundle"], request["options"]  # noqa: A001
        options = (given["type_url"], given["value"]) if given else ("", b"")
        runtime = self.driver.runtime(self.reaper, namespace=self.namespace, id=id, bundle=bundle, options=options)
        container = Container(id, bundle, runtime)
        stdio = stdio_of(request)
        container.init = Process(container, "", stdio, self._io(container, stdio, id))
        if options[0]:
            remember_options(bundle, *options)
        if runtime.shim_cgroup:
            cgroup.join(runtime.shim_cgroup)
        if request["rootfs"]:
            container.rootfs = mount_rootfs(request["rootfs"], bundle)
        return container

    def _created(self, container: Container, rootfs: Sequence[dict[str, Any]]) -> None:
        """From now on it is known, and told of."""
        init = container.init
        self.containers[container.id] = container
        self._publisher.publish(
            "/tasks/create",
            messages.TASK_CREATE,
            container_id=container.id,
            bundle=container.bundle,
            rootfs=rootfs,
            io=init.stdio.fields(),
            pid=init.pid,
        )
        try:
            watcher = oom.watch(init.pid, self._ran_out_of_memory, container.id)
        except OSError as exc:
            log.warning(f"cannot watch container {container.id} for running out of memory: {exc}")
        else:
            if watcher is not None:
                self._watchers[container.id] = watcher
        self._claim(init)

    def _ran_out_of_memory(self, id: str) -> None:  # noqa: A002
        self._publisher.publish("/tasks/oom", messages.TASK_OOM, container_id=id)

    def _io(self, container: Container, stdio: Stdio, id: str) -> ProcessIO:  # noqa: A002
        owner = (container.runtime.io_uid, container.runtime.io_gid)
        return ProcessIO(self.reaper, stdio, id=id, namespace=self.namespace, owner=owner)

    async def _undo(self, container: Container) -> None:
        try:
            await container.runtime.delete(force=True)
        except ContainerdError as exc:  # the first error is the one to tell
            log.debug(f"cannot delete {container.id} after a failed create: {exc}")
        try:
            if container.rootfs:
                unmount_recursive(container.rootfs)
        except ContainerdError as exc:
            log.warning(f"cannot unmount the root of {container.id} after a failed create: {exc}")
        files.unlink(f"{container.bundle}/init.pid")

    async def start(self, id: str, exec_id: str) -> int:  # noqa: A002
        """Start what was created or added."""
        container = self.container(id)
        process = container.process(exec_id)
        check("start", process.state, process.name)
        if process.starting:
            raise FailedPrecondition(f"cannot start {process.name}: it is being started")
        process.starting = True
        self._starts += 1
        try:
            if exec_id:
                await self._start_exec(container, process)
            else:
                await self._start_init(container, process)
        finally:
            self._claimed()
        return process.pid

    async def _start_init(self, container: Container, init: Process) -> None:
        try:
            async with container.lock:
                await container.runtime.start()
            if init.state == CREATED:
                init.state = RUNNING
            self._publisher.publish("/tasks/start", messages.TASK_START, container_id=container.id, pid=init.pid)
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
                await container.runtime.exec(process.exec_id, process.spec, streams, process.pid_file)
                process.read_pid()
                await process.io.connect()
            except BaseException:
                await process.io.abandon()
                raise
        except BaseException:
            process.starting = False
            process.state = STOPPED
            container.exec_over()
            raise
        process.state = RUNNING
        self._publisher.publish(
            "/tasks/exec-started",
            messages.TASK_EXEC_STARTED,
            container_id=container.id,
            exec_id=process.exec_id,
            pid=process.pid,
        )
        process.starting = False
        self._claim(process)

    def add_exec(self, request: dict[str, Any]) -> None:
        """Add a process to start later."""
        id, exec_id, given = request["id"], request["exec_id"], request["spec"]  # noqa: A001
        container = self.container(id)
        validate_identifier(exec_id, "exec id")
        check("exec in", container.init.state, container.init.name)
        if container.pausing:
            raise FailedPrecondition(f"cannot exec in {container.init.name}: it is being paused")
        if exec_id in container.execs:
            raise AlreadyExists(f"container {id!r} has a process {exec_id!r} already")
        stdio = stdio_of(request)
        spec = exec_spec(given["value"] if given else b"", stdio.terminal)
        container.execs[exec_id] = Process(container, exec_id, stdio, self._io(container, stdio, exec_id), spec)
        self._publisher.publish("/tasks/exec-added", messages.TASK_EXEC_ADDED, container_id=id, exec_id=exec_id)

    async def kill(self, id: str, exec_id: str, number: int, *, everyone: bool) -> None:  # noqa: A002
        """Send a signal."""
        container = self.container(id)
        process = container.process(exec_id)
        if not 0 < number < 65:
            raise InvalidArgument(f"cannot kill {process.name}: there is no signal {number}")
        if exec_id or not (everyone or process.state == PAUSED):
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
            if container.init.state == RUNNING:
                container.init.state = PAUSED
        self._publisher.publish("/tasks/paused", messages.TASK_PAUSED, container_id=id)

    async def resume(self, id: str) -> None:  # noqa: A002
        """Let them run again."""
        container = self.container(id)
        async with container.lock:
            check("resume", container.init.state, container.init.name)
            await container.runtime.resume()
            if container.init.state == PAUSED:
                container.init.state = RUNNING
        self._publisher.publish("/tasks/resumed", messages.TASK_RESUMED, container_id=id)

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
            process.state = DELETED
            files.unlink(process.pid_file)
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
            await init.finished
        await init.io.abandon()
        if container.rootfs:
            unmount_recursive(container.rootfs)
        init.state = DELETED
        self.containers.pop(container.id, None)
        ended = init.exit or Ended(137, 0)
        self._publisher.publish(
            "/tasks/delete",
            messages.TASK_DELETE,
            container_id=container.id,
            pid=init.pid,
            exit_status=ended.status,
            exited_at=stamp(ended.at),
        )


def stdio_of(request: dict[str, Any]) -> Stdio:
    """The streams that a request wants."""
    return Stdio(request["stdin"], request["stdout"], request["stderr"], request["terminal"])
