"""Children: started, waited for, and those of containers, which come here when their own parents have gone.

One place waits for all of them, because a shim is a subreaper: who waits for a single pid would have to know them all.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time

from pycontainerd.contracts.errors import NotFound, Unavailable
from pycontainerd.sys.libc import check

from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
# Plain numbers and bytes: to convert names and words for each child would write to more of the memory that shims share.
_DEFAULT_SIGNALS = tuple(
    int(number) for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
)
ENVIRONMENT = dict(os.environb)


class Ended:
    """How a process ended: its exit ``status``, or 128 and the signal; ``at`` in nanoseconds since 1970."""

    __slots__ = ("at", "status")

    def __init__(self, status: int, at: int) -> None:
        self.status = status
        self.at = at


class Reaper:
    """``on_exit`` is told of every child that `spawn` did not start."""

    def __init__(self, on_exit: Callable[[int, Ended], None]) -> None:
        self._on_exit = on_exit
        self._waiting: dict[int, loop.Future] = {}

    def install(self, *, subreaper: bool = False) -> None:
        """Begin; on the current event loop. ``subreaper``: orphans below this process come to it."""
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
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
            waiting = self._waiting.pop(pid, None)
            if waiting is None:
                self._on_exit(pid, Ended(code, time.time_ns()))
            else:
                waiting.settle(code)

    def spawn(
        self,
        argv: list[str],
        *,
        descriptors: Mapping[int, int] | None = None,
        environment: Mapping[bytes, bytes] = ENVIRONMENT,
        hint: str = "",
    ) -> tuple[int, loop.Future]:
        """Start a program: its pid and its exit status to come.

        ``descriptors`` says which of ours become which of its (0 to 2 are /dev/null otherwise). They must have numbers
        above all that are asked for.

        :raises NotFound: there is no such program.
        """
        actions = []
        for number, fd in descriptors.items() if descriptors else ():
            actions.append((os.POSIX_SPAWN_DUP2, fd, number))
        try:
            pid = os.posix_spawnp(
                argv[0], argv, environment, file_actions=actions, setsigmask=(), setsigdef=_DEFAULT_SIGNALS
            )
        except OSError as exc:
            kind = NotFound if exc.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR) else Unavailable
            raise kind(f"cannot run {argv[0]}: {exc.strerror}", hint=hint) from exc
        future = self._waiting[pid] = loop.Future()
        return pid, future
