"""The terminal that we run in, for a process with a terminal: raw mode, and its size."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from pycontainerd.contracts.errors import ContainerdError


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """Terminal ``fd`` in raw mode (every key goes through) for the time of the ``with``; nothing where it is none."""
    if not os.isatty(fd):
        yield
        return
    saved = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)


@contextlib.asynccontextmanager
async def follow_size(
    fd: int, resize: Callable[[int, int], Awaitable[None]]
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Tell ``resize(columns, rows)`` the size of terminal ``fd``, now and whenever it changes; gives what tells it anew."""
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    async def tell() -> None:
        if not os.isatty(fd):
            return
        size = os.get_terminal_size(fd)
        # The process may have ended; its exit is what the caller waits for.
        with contextlib.suppress(ContainerdError):
            await resize(size.columns, size.lines)

    def changed() -> None:
        task = loop.create_task(tell())
        pending.add(task)
        task.add_done_callback(pending.discard)

    loop.add_signal_handler(signal.SIGWINCH, changed)
    try:
        await tell()
        yield tell
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        await asyncio.gather(*pending)


@contextlib.contextmanager
def forward_signals(send: Callable[[int], Awaitable[None]]) -> Iterator[None]:
    """Pass signals that we get on with ``send`` instead of dying of them."""
    loop = asyncio.get_running_loop()
    wanted = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    pending: set[asyncio.Task[None]] = set()

    async def pass_on(number: int) -> None:
        with contextlib.suppress(ContainerdError):  # it has ended
            await send(number)

    def arrived(number: int) -> None:
        task = loop.create_task(pass_on(number))
        pending.add(task)
        task.add_done_callback(pending.discard)

    for number in wanted:
        loop.add_signal_handler(number, arrived, number)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
