"""The shim's event loop, and what coroutines wait for on it.

Theory of operation. A shim is a fork of the zygote, and every page that it writes to is one it no longer shares. asyncio is
made for programs with better things to save: making its loop, its transports and its tasks writes to more pages than all
the rest of a shim. Here is the little of it that a shim needs: one thread, poll(2), a coroutine runs until it waits for a
`Future` and goes on when that is done.

What differs from asyncio: waiting for a future that others wait for too never cancels it, whoever is cancelled; a
descriptor is watched by one callback; a process has one loop (`current`), made before the fork and started after it.
"""

from __future__ import annotations

import heapq
import os
import select
import signal
import time

from . import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable
    from typing import Any, TypeVar

    T = TypeVar("T")

READ, WRITE = select.POLLIN, select.POLLOUT
_INVALID = select.POLLNVAL


def _nothing(*_: object) -> None:
    return


class Cancelled(BaseException):
    """Thrown into a coroutine whose task was cancelled."""


class Future:
    """A result to come."""

    __slots__ = ("_callbacks", "_error", "_result", "done")

    def __init__(self) -> None:
        self.done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], None]] = []

    def result(self) -> Any:
        """What it came to, or raise what it failed with."""
        if self._error is not None:
            raise self._error
        return self._result

    def settle(self, result: Any = None, error: BaseException | None = None) -> None:
        """Give it its result, or the error it failed with; once."""
        if self.done:
            raise RuntimeError("a future is settled once")
        self.done, self._result, self._error = True, result, error
        for callback in self._callbacks:
            _current.ready.append((callback, self))
        self._callbacks.clear()

    def on_done(self, callback: Callable[[Any], None]) -> None:
        """Call ``callback`` with this future when it is done; in the loop's next turn if it is."""
        if self.done:
            _current.ready.append((callback, self))
        else:
            self._callbacks.append(callback)

    def forget(self, callback: Callable[[Any], None]) -> None:
        """Do not call ``callback``."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def __await__(self) -> Generator[Future, None, Any]:
        if not self.done:
            yield self
        return self.result()


class Task(Future):
    """A coroutine that runs by itself, and its result."""

    __slots__ = ("_coroutine", "_thrown", "_waiting")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.done = False
        self._result = self._error = None
        self._callbacks = []
        self._coroutine = coroutine
        self._waiting: Future | None = None
        self._thrown: BaseException | None = None
        _current.ready.append((self._step, None))

    def cancel(self) -> None:
        """Throw `Cancelled` into it, in the loop's next turn."""
        if not self.done:
            if self._waiting is not None:
                self._waiting.forget(self._step)
                self._waiting = None
            self._thrown = Cancelled()
            _current.ready.append((self._step, None))

    def _step(self, _: Future | None) -> None:
        if self.done:
            return
        thrown, self._thrown = self._thrown, None
        try:
            waiting = self._coroutine.send(None) if thrown is None else self._coroutine.throw(thrown)
        except StopIteration as end:
            self.settle(end.value)
        except (Exception, Cancelled) as exc:
            if not self._callbacks and isinstance(exc, Exception):
                log.failure("a task failed", exc)  # nobody waits who could tell
            self.settle(error=exc)
        else:
            self._waiting = waiting
            waiting.on_done(self._step)


class Event:
    """Set or not, to be waited for."""

    __slots__ = ("_waiters", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiters: list[Future] = []

    def set(self) -> None:
        self.is_set = True
        for waiter in self._waiters:
            waiter.settle()
        self._waiters.clear()

    def clear(self) -> None:
        self.is_set = False

    async def wait(self) -> None:
        if not self.is_set:
            waiter = Future()
            self._waiters.append(waiter)
            await waiter


class Lock:
    """Held by one at a time, in the order of asking. Use with ``async with``."""

    __slots__ = ("_held", "_waiters")

    def __init__(self) -> None:
        self._held = False
        self._waiters: list[Future] = []

    async def __aenter__(self) -> None:
        if not self._held:
            self._held = True
            return
        turn = Future()
        self._waiters.append(turn)
        try:
            await turn
        except Cancelled:
            if turn.done:
                self._pass_on()
            else:
                self._waiters.remove(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        if self._waiters:
            self._waiters.pop(0).settle()
        else:
            self._held = False


class Timer:
    """Something to be called at a time."""

    __slots__ = ("argument", "at", "callback")

    def __init__(self, at: float, callback: Callable[[Any], None], argument: Any) -> None:
        self.at = at
        self.callback: Callable[[Any], None] | None = callback
        self.argument = argument

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class Loop:
    """Calls back when descriptors are ready, times have come, and children have ended."""

    def __init__(self) -> None:
        self.ready: list[tuple[Callable[[Any], None], Any]] = []  # what to call in the next turn, and with what
        self._poll = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._timers: list[Timer] = []
        self._wake: tuple[int, ...] = ()
        self._on_child: Callable[[], None] = _nothing

    def call_later(self, seconds: float, callback: Callable[[Any], None], argument: Any = None) -> Timer:
        """Call ``callback`` with ``argument``, unless the timer is cancelled before."""
        timer = Timer(time.monotonic() + seconds, callback, argument)
        heapq.heappush(self._timers, timer)
        return timer

    def watch(self, fd: int, events: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``fd`` can be read or written (`READ`, `WRITE`), is at its end or broken; instead of
        whoever watched it before."""
        self._watched[fd] = callback
        self._poll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """Call nobody."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def on_child(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever children may have ended. Once, in the process that the loop runs in."""
        self._wake = reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)  # the number written to the pipe is what wakes
        self._on_child = callback
        self.watch(reading, READ, self._woken)

    def _woken(self) -> None:
        try:
            os.read(self._wake[0], 4096)
        except BlockingIOError:
            pass
        self._on_child()

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
        task.on_done(_nothing)
        while not task.done:
            self._turn()
        result: T = task.result()
        return result

    def _turn(self) -> None:
        due = []
        for fd, events in self._poll.poll(self._patience()):
            callback = self._watched[fd]
            if events & _INVALID:  # closed behind our back: it would be reported for ever
                log.warning(f"descriptor {fd} was closed while the loop watched it")
                self.unwatch(fd)
            else:
                due.append((fd, callback))
        now = time.monotonic() if self._timers else 0.0
        while self._timers and (self._timers[0].at <= now or self._timers[0].callback is None):
            timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                self.ready.append((_fire, timer))
        ready, self.ready = self.ready, []
        for fd, callback in due:
            # Unless what was called before in this turn has closed the descriptor, or given it to others.
            if self._watched.get(fd) is callback:
                try:
                    callback()
                except Exception as exc:
                    log.failure("a callback failed", exc)
        for call, argument in ready:
            try:
                call(argument)
            except Exception as exc:
                log.failure("a callback failed", exc)

    def _patience(self) -> float | None:
        """Milliseconds to wait for, rounded up: rounded down the loop would spin at the end of a pause."""
        if self.ready:
            return 0
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, (self._timers[0].at - time.monotonic()) * 1000 + 1) if self._timers else None


_current = Loop()


def current() -> Loop:
    """The loop of this process."""
    return _current


class fresh:  # noqa: N801 - used like a function
    """Another loop as the current one, for as long as the body runs: what rehearses leaves nothing in the real one."""

    def __enter__(self) -> Loop:
        global _current
        self._before, _current = _current, Loop()
        return _current

    def __exit__(self, *_: object) -> None:
        global _current
        _current.close()
        _current = self._before


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run ``coroutine`` on the current loop."""
    return _current.run(coroutine)


def spawn(coroutine: Coroutine[Any, Any, Any]) -> Task:
    """Let ``coroutine`` run by itself."""
    return Task(coroutine)


async def sleep(seconds: float) -> None:
    over = Future()
    timer = _current.call_later(seconds, over.settle)
    try:
        await over
    finally:
        timer.cancel()


async def wait(futures: Iterable[Future], seconds: float) -> bool:
    """Wait until all are done, at most ``seconds``; whether they are. None of them is cancelled."""
    waiting = [future for future in futures if not future.done]
    if not waiting:
        return True
    over = Future()

    def check(_: object = None) -> None:
        if not over.done and all(future.done for future in waiting):
            over.settle()

    for future in waiting:
        future.on_done(check)
    timer = _current.call_later(seconds, _settle, over)
    try:
        await over
    finally:
        timer.cancel()
        for future in waiting:
            future.forget(check)
    return all(future.done for future in waiting)


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
        result: T = task.result()
        return result
    task.cancel()
    await wait((task,), _ENDS)
    raise TimeoutError


_ENDS = 10.0  # seconds for a cancelled coroutine to clean up


async def readable(fd: int) -> None:
    """Return when ``fd`` can be read. Nobody else may watch it meanwhile."""
    ready = Future()
    _current.watch(fd, READ, lambda: _settle(ready))
    try:
        await ready
    finally:
        _current.unwatch(fd)


def _fire(timer: Timer) -> None:
    if timer.callback is not None:
        timer.callback(timer.argument)


def _settle(future: Future) -> None:
    if not future.done:
        future.settle()
