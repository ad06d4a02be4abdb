"""Being told when a container runs out of memory."""

from __future__ import annotations

import ctypes
import os

from pycontainerd.sys.libc import check, encode

from . import cgroup, files, loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IN_MODIFY = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """Calls back whenever ``read`` says so, asked each time that ``fd`` is readable."""

    def __init__(self, fd: int, read: Callable[[], bool], on_oom: Callable[[], None]) -> None:
        self._fd = fd
        self._read = read
        self._on_oom = on_oom
        loop.current().watch(fd, loop.READ, self._ready)

    def _ready(self) -> None:
        try:
            os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if self._read():
            self._on_oom()

    def close(self) -> None:
        """Stop."""
        if self._fd >= 0:
            # What has happened already but not been read is still told: the last OOM kill ends the container.
            self._ready()
        if self._fd >= 0:
            loop.current().unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1


def watch(pid: int, on_oom: Callable[[], None]) -> Watcher | None:
    """Watch the cgroup of ``pid``; None if it has no memory controller.

    :raises OSError: the kernel refuses.
    """
    found = cgroup.of(pid)
    if found.unified:
        return _watch_unified(found.unified, on_oom)
    memory = found.controllers.get("memory")
    return None if memory is None else _watch_v1(memory, on_oom)


def _watch_v1(directory: str, on_oom: Callable[[], None]) -> Watcher:
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            files.write(f"{directory}/cgroup.event_control", f"{event} {control}")
        finally:
            os.close(control)
        # The removal of the cgroup wakes too.
        return Watcher(event, lambda: os.path.exists(f"{directory}/memory.oom_control"), on_oom)
    except BaseException:
        os.close(event)
        raise


def _watch_unified(directory: str, on_oom: Callable[[], None]) -> Watcher:
    path = f"{directory}/memory.events"
    fd = check(_LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")
    known = oom_kills(path)

    def more() -> bool:
        nonlocal known
        before, known = known, max(known, oom_kills(path))
        return known > before

    try:
        check(_LIBC.inotify_add_watch(fd, encode(path), _IN_MODIFY), "inotify_add_watch", path)
        return Watcher(fd, more, on_oom)
    except BaseException:
        os.close(fd)
        raise


def oom_kills(path: str) -> int:
    """The count in a memory.events file."""
    try:
        for line in files.read_text(path).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        pass
    return 0
