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
    """Calls ``tell`` with ``id`` when that has happened, for which it looks each time that ``fd`` is readable: a kill more
    than the ``known`` ones in the file at ``path``. Of v1, where none are counted (``known`` is -1), the file must be
    there: the removal of the cgroup wakes too."""

    __slots__ = ("_fd", "_id", "_known", "_path", "_tell")

    def __init__(self, fd: int, path: str, known: int, tell: Callable[[str], None], id: str) -> None:  # noqa: A002
        self._fd = fd
        self._path = path
        self._known = known
        self._tell = tell
        self._id = id
        loop.current().watch(fd, loop.READ, self._ready)

    def _ready(self) -> None:
        try:
            os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if self._happened():
            self._tell(self._id)

    def _happened(self) -> bool:
        if self._known < 0:
            return os.path.exists(self._path)
        before, self._known = self._known, max(self._known, oom_kills(self._path))
        return self._known > before

    def close(self) -> None:
        """Stop."""
        if self._fd >= 0:
            # What has happened already but not been read is still told: the last OOM kill ends the container.
            self._ready()
        if self._fd >= 0:
            loop.current().unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1


def watch(pid: int, tell: Callable[[str], None], id: str) -> Watcher | None:  # noqa: A002
    """Watch the cgroup of ``pid``; None if it has no memory controller.

    :raises OSError: the kernel refuses.
    """
    directories = cgroup.of(pid)
    if "unified" in directories:
        return _watch_unified(f"{directories['unified']}/memory.events", tell, id)
    memory = directories.get("memory")
    return None if memory is None else _watch_v1(memory, tell, id)


def _watch_v1(directory: str, tell: Callable[[str], None], id: str) -> Watcher:  # noqa: A002
    path = f"{directory}/memory.oom_control"
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            files.write(f"{directory}/cgroup.event_control", f"{event} {control}")
        finally:
            os.close(control)
        return Watcher(event, path, -1, tell, id)
    except BaseException:
        os.close(event)
        raise


def _watch_unified(path: str, tell: Callable[[str], None], id: str) -> Watcher:  # noqa: A002
    fd = check(_LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")
    try:
        known = oom_kills(path)
        check(_LIBC.inotify_add_watch(fd, encode(path), _IN_MODIFY), "inotify_add_watch", path)
        return Watcher(fd, path, known, tell, id)
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
