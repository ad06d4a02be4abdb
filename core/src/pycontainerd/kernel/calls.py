"""Calls a plugin's function where it belongs, loop or thread, and bounds what it can do to the daemon."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any


async def call(function: Callable[..., Any], *arguments: Any, deadline: float, what: str) -> Any:
    """Call ``function``: a coroutine function on the event loop, a plain one in a thread of its own.

    :param deadline: seconds it may take.
    :param what: names the call in the error: ``init``.
    :raises TimeoutError: it took longer. A thread that hangs is left alone.
    """
    try:
        if inspect.iscoroutinefunction(function):
            return await asyncio.wait_for(function(*arguments), deadline)
        return await asyncio.wait_for(_in_thread(function, arguments), deadline)
    except TimeoutError:
        raise TimeoutError(f"its {what} did not finish in {deadline:g} s") from None


def describe(exc: BaseException) -> str:
    """The error as a sentence for people."""
    if isinstance(exc, SystemExit):
        return f"it called sys.exit({exc.code!r})"
    return str(exc) or type(exc).__name__


def _in_thread(function: Callable[..., Any], arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
    """Run ``function`` in a daemon thread of its own: one that hangs holds neither a pool's slot nor the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def deliver(result: Any, exc: BaseException | None) -> None:
        if not future.done():
            if exc is None:
                future.set_result(result)
            else:
                future.set_exception(exc)

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = function(*arguments)
        except SystemExit as exc:
            error = RuntimeError(describe(exc))
        except BaseException as exc:
            error = exc if isinstance(exc, Exception) else RuntimeError(describe(exc))
        try:
            loop.call_soon_threadsafe(deliver, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=run, daemon=True, name="plugin").start()
    return future
