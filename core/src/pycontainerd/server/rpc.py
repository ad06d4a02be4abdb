"""From a service object (contracts/service.py) to callables a gRPC server can run.

Everything that depends on a service's shape is decided once, when the service is registered: which message classes a
method takes, whether it streams, and whether its code is a coroutine or a plain function that belongs in the pool.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import attrs
from google.protobuf import descriptor_pool, message_factory

from pycontainerd.contracts.errors import DISK_FULL, ContainerdError, Internal, ResourceExhausted
from pycontainerd.contracts.service import Call, RpcService

log = logging.getLogger("containerd.rpc")

SLOW = 30.0  # seconds after which a call is named in the log, and again at every doubling

Handler = Callable[[Any, Call], Any]


@attrs.frozen
class Method:
    """One RPC: its path on the wire, its message classes, and the code behind it (None: declared, not served)."""

    path: str
    request: Any
    response: Any
    client_streaming: bool
    server_streaming: bool
    handler: Handler | None


def methods(service: RpcService) -> Iterator[Method]:
    """Every RPC that the .proto file declares for ``service.SERVICE``.

    :raises KeyError: no imported .proto declares such a service.
    """
    descriptor = descriptor_pool.Default().FindServiceByName(service.SERVICE)
    for method in descriptor.methods:
        yield Method(
            path=f"/{service.SERVICE}/{method.name}",
            request=message_factory.GetMessageClass(method.input_type),
            response=message_factory.GetMessageClass(method.output_type),
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
            handler=getattr(service, method.name, None),
        )


def unary(handler: Handler, pool: ThreadPoolExecutor, path: str = "") -> Callable[[Any, Call], Awaitable[Any]]:
    """``handler`` as a coroutine function: plain functions run in ``pool``; one that runs long is named by ``path``."""
    if inspect.iscoroutinefunction(handler):
        return handler

    async def run(request: Any, call: Call) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        work = pool.submit(_answering, loop, answer, handler, request, call)
        _watch(loop, path, work, answer)
        return await answer

    return run


def _answering(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Any], handler: Handler, *args: Any) -> None:
    """Run ``handler`` and give what comes of it to ``answer``: in one step, where futures that are chained take four."""
    result, error = None, None
    try:
        result = handler(*args)
    except BaseException as exc:
        error = exc
    try:
        loop.call_soon_threadsafe(_settle, answer, result, error)
    except RuntimeError:
        log.debug("a call ended after the event loop")  # the daemon stops: nobody waits
    finally:
        del error  # it holds on to this frame


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():  # the caller went away
        return
    if error is None:
        answer.set_result(result)
    elif isinstance(error, StopIteration):  # a future takes none
        answer.set_exception(RuntimeError(f"the handler raised {error!r}"))
    else:
        answer.set_exception(error)


def _watched(path: str, work: Future[Any]) -> asyncio.Future[Any]:
    """Wait for ``work``, with `_watch`."""
    waiting = asyncio.wrap_future(work)
    _watch(asyncio.get_running_loop(), path, work, waiting)
    return waiting


def _watch(loop: asyncio.AbstractEventLoop, path: str, work: Future[Any], waiting: asyncio.Future[Any]) -> None:
    """The log names ``path`` while ``work`` holds a thread of the pool for long, waited for or not.

    Work that has not begun when ``waiting`` is cancelled is not begun.
    """
    began = loop.time()
    timer = loop.call_later(SLOW, lambda: look(SLOW))

    def look(after: float) -> None:
        nonlocal timer
        if work.done():
            return
        if work.running():
            fields = {"method": path, "seconds": f"{loop.time() - began:.0f}"}
            log.warning("a call has held one of the server's threads for long", extra={"fields": fields})
        timer = loop.call_later(after, look, 2 * after)

    def ended(_waiting: asyncio.Future[Any]) -> None:
        if work.cancel() or work.done() or not waiting.cancelled():
            timer.cancel()  # else the caller went away, and the thread is still held

    waiting.add_done_callback(ended)


def streaming(handler: Handler, pool: ThreadPoolExecutor, path: str = "") -> Callable[[Any, Call], AsyncIterator[Any]]:
    """``handler`` as an async generator function: plain generators are stepped in ``pool``, one step at a time."""
    if inspect.isasyncgenfunction(handler):
        return handler

    async def run(request: Any, call: Call) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        iterator = await _watched(path, pool.submit(lambda: iter(handler(request, call))))
        step: Future[Any] | None = None
        try:
            while True:
                step = pool.submit(next, iterator, _END)
                item = await _watched(path, step)
                if item is _END:
                    break
                yield item
        finally:
            # A caller that goes away leaves its step running in the thread, and a running generator cannot be closed.
            # What that step still gives, an error too, has nobody left who asked for it.
            if step is not None and step.running():
                await asyncio.gather(asyncio.wrap_future(step), return_exceptions=True)
            close = getattr(iterator, "close", None)
            if close is not None:
                await loop.run_in_executor(pool, close)

    return run


_END: Any = object()


def as_containerd_error(exc: Exception, path: str) -> ContainerdError:
    """``exc`` as the caller may see it: errors outside the family are bugs, logged here with their traceback."""
    if isinstance(exc, ContainerdError):
        log.debug("rpc failed", extra={"fields": {"method": path, "code": exc.code, "error": str(exc)}})
        return exc
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(f"{path.rpartition('/')[2]}: {exc}", hint=DISK_FULL)
    log.error("rpc failed unexpectedly", exc_info=exc, extra={"fields": {"method": path}})
    return Internal(f"{path}: {type(exc).__name__}: {exc}", hint="the daemon's log has the traceback")
