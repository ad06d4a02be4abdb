"""A process in the foreground: its I/O is ours, signals are passed on, and its end is the command's."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from pycontainerd.client.console import follow_size, forward_signals, raw
from pycontainerd.client.fifo import Descriptors
from pycontainerd.client.task import Process
from pycontainerd.contracts.errors import ContainerdError
from pycontainerd.contracts.runtime import Exit


def own_streams(terminal: bool) -> Descriptors:
    """Our own standard streams."""
    return Descriptors(0, 1, None if terminal else 2, terminal)


@contextlib.contextmanager
def in_front(process: Process, terminal: bool) -> Iterator[None]:
    """Pass on signals, or with a ``terminal`` every key."""
    with raw(0) if terminal else forward_signals(process.kill):
        yield


async def run_to_end(process: Process, terminal: bool) -> int:
    """Start a process that is connected to us, and wait for its end; returns its exit status."""
    ended = asyncio.create_task(process.wait())
    try:
        # Before it starts: a signal that comes as soon as it shows a sign of life is meant for it.
        with in_front(process, terminal):
            async with _sized(process, terminal) as tell_size:
                await process.start()
                await tell_size()  # again: in the Go containerd an exec has no terminal before it runs
                return (await _end(process, ended)).status
    finally:
        ended.cancel()


async def follow_to_end(process: Process, terminal: bool) -> Exit:
    """Wait for the end of a process that runs already."""
    ended = asyncio.create_task(process.wait())
    with in_front(process, terminal):
        async with _sized(process, terminal):
            return await _end(process, ended)


async def _end(process: Process, ended: asyncio.Task[Exit]) -> Exit:
    found = await ended
    await process.drain()
    return found


@contextlib.asynccontextmanager
async def _sized(process: Process, terminal: bool) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The process's terminal has the size of ours from here on; gives what tells it anew."""
    if terminal:
        async with follow_size(1, process.resize) as tell:
            yield tell
    else:
        yield _nothing


async def _nothing() -> None:
    return


async def discard(process: Process) -> None:
    """Delete a process after a failure; what is wrong with that is said, but the failure itself is what counts."""
    try:
        await process.delete()
    except ContainerdError as exc:
        sys.stderr.write(f"ctr: cleaning up: {exc}\n")
