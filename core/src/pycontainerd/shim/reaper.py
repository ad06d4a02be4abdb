"""Children: started, waited for, and those of containers, which come here when their own parents have gone.

One place waits for all of them, because a shim is a subreaper: who waits for a single pid would have to know them all.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import attrs

from pycontainerd.contracts.errors import NotFound, Unavailable
from pycontainerd.sys.libc import check

from . import loop

_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@attrs.frozen
class Ended:
    """How a process ended: its exit status, or 128 and the signal; ``at`` in nanoseconds since 1970."""

    status: int
    at: int


def exit_status(wait_status: int) -> int:
    """The status as containers report it."""
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)


class Reaper:
    """``on_exit`` is told of every child that `spawn` did not start."""

    def __init__(self, on_exit: Callable[[int, Ended], None]) -> None:
        self._on_exit = on_exit
        self._waiting: dict[int, loop.Future[int]] = {}

    def install(self, *, subreaper: bool = False) -> None:
        """Begin; on the running event loop. ``subreaper``: orphans below this process come to it."""
        if subreaper:
            check(_LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")
        loop.current().on_child(self.reap)
        self.reap()

    def reap(self) -> None:
        """Bury every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            waiting = self._waiting.pop(pid, None)
            if waiting is None:
                self._on_exit(pid, Ended(exit_status(status), time.time_ns()))
            elif not waiting.done():
                waiting.set_result(exit_status(status))

    def spawn(
        self,
        argv: Sequence[str],
        *,
        descriptors: Mapping[int, int] | None = None,
        environment: Mapping[str, str] | None = None,
        hint: str = "",
    ) -> tuple[int, loop.Future[int]]:
        """Start a program: its pid and its exit status to come.

        ``descriptors`` says which of ours become which of its (0 to 2 are /dev/null otherwise). They must have numbers
        above all that are asked for.

        :raises NotFound: there is no such program.
        """
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in sorted((descriptors or {}).items())]
        try:
            pid = os.posix_spawnp(
                argv[0],
                list(argv),
                os.environ if environment is None else environment,
                file_actions=actions,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        except OSError as exc:
            kind = NotFound if exc.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR) else Unavailable
            raise kind(f"cannot run {argv[0]}: {exc.strerror}", hint=hint) from exc
        future: loop.Future[int] = loop.Future()
        self._waiting[pid] = future
        return pid, future
