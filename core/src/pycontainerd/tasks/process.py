"""A process held by pid and start time: a pid that was given to another process is never killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import attrs


@attrs.frozen
class HeldProcess:
    """``started`` is in clock ticks since boot, as the kernel counts them."""

    pid: int
    started: int

    @classmethod
    def find(cls, pid: int) -> HeldProcess | None:
        """The process of that pid, None if there is none."""
        started = _started(pid) if pid > 1 else None
        return None if started is None else cls(pid, started)

    @property
    def alive(self) -> bool:
        return _started(self.pid) == self.started

    async def wait(self, timeout: float) -> bool:
        """Wait for its end; False if it did not come within ``timeout`` seconds."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, ended.set)
        try:
            if self.alive:
                async with asyncio.timeout(timeout):
                    await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return True

    def kill(self) -> None:
        """SIGKILL; fine if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(self.pid)
            try:
                if self.alive:  # asked after the open: from here on the descriptor means this very process
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)


def _started(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name is in parentheses and may hold anything; field 3 is the state, field 22 the start time.
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if not fields or fields[0] in "ZX" else int(fields[19])
