"""The shim's event loop, and what coroutines wait for on it.

Theory of operation. A shim is a fork of the zygote, and every page that it writes to is one it no longer shares. asyncio is
made for programs with better things to save: making its loop, its transports and its tasks writes to more pages than all
the rest of a shim. Here is the little of it that a shim needs, under the same names: one thread, poll(2), a coroutine
runs until it waits for a `Future` and goes on when that is done.

What differs from asyncio: waiting for a future that others wait for too never cancels it, whoever is cancelled; a process
has one loop (`current`), made before the fork and started after it.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

log = logging.getLogger("containerd.shim")

T = TypeVar("T")
_READ = select.POLLIN | select.POLLHUP | select.POLLERR
_WRITE = select.POLLOUT | select.POLLHUP | select.POLLERR


class HasFileno(Protocol):
    """A socket or file."""

    def fileno(self) -> int: ...


class Cancelled(BaseException):
    """Thrown into a coroutine whose task was cancelled."""


class Future(Generic[T]):
    """A result to come."""

    __slots__ = ("_callbacks", "_done", "_error", "_result")

    def __init__(self) -> None:
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], None]] = []

    def done(self) -> bool:
        return self._done

    def result(self) -> T:
        """What it came to, or raise what it failed with."""
        if self._error is not None:
            raise self._error
        result: T = self._result
        return result

    def set_result(self, result: T) -> None:
        self._settle(result, None)

    def set_exception(self, error: BaseException) -> None:
        self._settle(None, error)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call ``callback`` with this future when it is done; in the loop's next turn if it is."""
        if self._done:
            current().call_soon(lambda: callback(self))
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback: Callable[[Any], None]) -> None:
        with contextlib.suppress(ValueError):
            self._callbacks.remove(callback)

    def _settle(self, result: T | None, error: BaseException | None) -> None:
        if self._done:
            raise RuntimeError("a future is settled once")
        self._done, self._result, self._error = True, result, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            current().call_soon(lambda callback=callback: callback(self))  # type: ignore[misc]

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self._done:
            yield self
        return self.result()


class Task(Future[T]):
    """A coroutine that runs by itself, and its result."""

    __slots__ = ("_coroutine", "_waiting")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._waiting: Future[Any] | None = None
        current().call_soon(self._step)

    def cancel(self) -> None:
        """Throw `Cancelled` into it, in the loop's next turn."""
        if not self._done:
            if self._waiting is not None:
                self._waiting.remove_done_callback(self._go_on)
                self._waiting = None
            current().call_soon(lambda: self._step(Cancelled()))

    def _go_on(self, _: Future[Any]) -> None:
        self._step()

    def _step(self, error: BaseException | None = None) -> None:
        if self._done:
            return
        self._waiting = None
        try:
            waiting = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except StopIteration as end:
            self.set_result(end.value)
        except (Exception, Cancelled) as exc:
            if not self._callbacks and isinstance(exc, Exception):
                log.exception("a task failed", exc_info=exc)  # nobody waits who could tell
            self.set_exception(exc)
        else:
            self._waiting = waiting
            waiting.add_done_callback(self._go_on)


class Event:
    """Set or not, to be waited for."""

    def __init__(self) -> None:
        self._set = False
        self._waiters: list[Future[None]] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.set_result(None)

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        if not self._set:
            waiter: Future[None] = Future()
            self._waiters.append(waiter)
            await waiter


class Lock:
    """Held by one at a time, in the order of asking. Use with ``async with``."""

    def __init__(self) -> None:
        self._held = False
        self._waiters: deque[Future[None]] = deque()

    async def __aenter__(self) -> None:
        if not self._held:
            self._held = True
            return
        turn: Future[None] = Future()
        self._waiters.append(turn)
        try:
            await turn
        except Cancelled:
            if turn.done():
                self._pass_on()
            else:
                self._waiters.remove(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        if self._waiters:
            self._waiters.popleft().set_result(None)
        else:
            self._held = False


class Timer:
    """Something to be called at a time."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class Loop:
    """Calls back when descriptors are ready, times have come, and children have ended."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], None]] = {}
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[Timer] = []
        self._wake: tuple[int, ...] = ()

    @staticmethod
    def time() -> float:
        return time.monotonic()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call it in the next turn."""
        self._ready.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def add_reader(self, fd: int | HasFileno, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``fd`` can be read, is at its end or broken; instead of an earlier one."""
        self._set(self._readers, _number(fd), callback)

    def remove_reader(self, fd: int | HasFileno) -> None:
        self._unset(self._readers, _number(fd))

    def add_writer(self, fd: int | HasFileno, callback: Callable[[], None]) -> None:
        self._set(self._writers, _number(fd), callback)

    def remove_writer(self, fd: int | HasFileno) -> None:
        self._unset(self._writers, _number(fd))

    def on_child(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever children may have ended. Once, in the process that the loop runs in."""
        self._wake = reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)  # the number written to the pipe is what wakes

        def woken() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 4096)
            callback()

        self.add_reader(reading, woken)

    def close(self) -> None:
        """Be woken by children no more."""
        if self._wake:
            signal.set_wakeup_fd(-1)
            for fd in self._wake:
                os.close(fd)
            self._wake = ()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run until ``coroutine`` has ended; its result."""
        task = Task(coroutine)
        task.add_done_callback(_nothing)
        while not task.done():
            self._turn()
        return task.result()

    def _set(self, which: dict[int, Callable[[], None]], fd: int, callback: Callable[[], None]) -> None:
        which[fd] = callback
        self._register(fd)

    def _unset(self, which: dict[int, Callable[[], None]], fd: int) -> None:
        if which.pop(fd, None) is not None:
            self._register(fd)

    def _register(self, fd: int) -> None:
        wanted = (select.POLLIN if fd in self._readers else 0) | (select.POLLOUT if fd in self._writers else 0)
        if wanted:
            self._poll.register(fd, wanted)
        else:
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)

    def _turn(self) -> None:
        for fd, events in self._poll.poll(self._patience()):
            if events & select.POLLNVAL:  # closed behind our back: it would be reported for ever
                log.error(f"descriptor {fd} was closed while the loop watched it")
                self._readers.pop(fd, None)
                self._writers.pop(fd, None)
                self._register(fd)
                continue
            for which, mask in ((self._readers, _READ), (self._writers, _WRITE)):
                if events & mask and fd in which:
                    self._ready.append(partial(self._tell, which, fd, which[fd]))
        now = time.monotonic()
        while self._timers and (self._timers[0].at <= now or self._timers[0].callback is None):
            timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                self._ready.append(timer.callback)
        for _ in range(len(self._ready)):
            callback = self._ready.popleft()
            try:
                callback()
            except Exception:
                log.exception("a callback failed")

    @staticmethod
    def _tell(which: dict[int, Callable[[], None]], fd: int, callback: Callable[[], None]) -> None:
        """Call back, unless what was called before in this turn has closed the descriptor or given it to others."""
        if which.get(fd) is callback:
            callback()

    def _patience(self) -> float | None:
        """Milliseconds to wait for, rounded up: rounded down the loop would spin at the end of a pause."""
        if self._ready:
            return 0
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, (self._timers[0].at - time.monotonic()) * 1000 + 1) if self._timers else None


_current = Loop()


def current() -> Loop:
    """The loop of this process."""
    return _current


@contextlib.contextmanager
def fresh() -> Iterator[Loop]:
    """Another loop as the current one, for as long as the body runs: what rehearses leaves nothing in the real one."""
    global _current
    before, _current = _current, Loop()
    try:
        yield _current
    finally:
        _current.close()
        _current = before


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run ``coroutine`` on the current loop."""
    return _current.run(coroutine)


def spawn(coroutine: Coroutine[Any, Any, T]) -> Task[T]:
    """Let ``coroutine`` run by itself."""
    return Task(coroutine)


async def sleep(seconds: float) -> None:
    over: Future[None] = Future()
    timer = _current.call_later(seconds, lambda: over.set_result(None))
    try:
        await over
    finally:
        timer.cancel()


async def wait(futures: Iterable[Future[Any]], seconds: float) -> bool:
    """Wait until all are done, at most ``seconds``; whether they are. None of them is cancelled."""
    waiting = [future for future in futures if not future.done()]
    if not waiting:
        return True
    over: Future[None] = Future()

    def check(_: object = None) -> None:
        if not over.done() and all(future.done() for future in waiting):
            over.set_result(None)

    for future in waiting:
        future.add_done_callback(check)
    timer = _current.call_later(seconds, lambda: None if over.done() else over.set_result(None))
    try:
        await over
    finally:
        timer.cancel()
        for future in waiting:
            future.remove_done_callback(check)
    return all(future.done() for future in waiting)


async def within(seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result.

    :raises TimeoutError: it had none after ``seconds``; it is cancelled, and has ended, then.
    """
    task = Task(coroutine)
    try:
        done = await wait((task,), seconds)
    except Cancelled:
        task.cancel()
        raise
    if done:
        return task.result()
    task.cancel()
    with contextlib.suppress(Cancelled, Exception):
        await task
    raise TimeoutError


async def readable(fd: int | HasFileno) -> None:
    """Return when ``fd`` can be read. Nobody else may watch it meanwhile."""
    ready: Future[None] = Future()
    _current.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        _current.remove_reader(fd)


def _number(fd: int | HasFileno) -> int:
    return fd if isinstance(fd, int) else fd.fileno()


def _nothing(*_: object) -> None:
    return
