"""Handlers in the pool: what happens when their caller goes away, and who holds a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pycontainerd.contracts.errors import NotFound
from pycontainerd.contracts.service import Call
from pycontainerd.server import rpc
from pycontainerd.testing.client import eventually


def test_a_caller_that_goes_away_in_the_middle_of_a_step_is_not_an_error_and_the_generator_is_closed() -> None:
    stepping, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def slow(request: Any, call: Call) -> Iterator[int]:
        try:
            stepping.set()
            go_on.wait()
            yield 1
        finally:
            closed.set()

    async def consume(pool: ThreadPoolExecutor) -> None:
        async for _ in rpc.streaming(slow, pool)(None, Call()):
            pass

    async def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            consumer = asyncio.create_task(consume(pool))
            await asyncio.to_thread(stepping.wait)
            consumer.cancel()
            asyncio.get_running_loop().call_later(0.05, go_on.set)  # the generator is running when it is cancelled
            try:
                with pytest.raises(asyncio.CancelledError):
                    await consumer
            finally:
                go_on.set()
            assert closed.is_set()

    asyncio.run(run())


def test_a_call_that_holds_a_thread_is_named_even_when_its_caller_is_gone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "SLOW", 0.01)
    caplog.set_level(logging.WARNING, "containerd.rpc")
    go_on = threading.Event()

    def slow(request: Any, call: Call) -> None:
        go_on.wait()

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            try:
                handler = rpc.unary(slow, pool, "/snapshots/Remove")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(handler(None, Call()), 0.005)
                await asyncio.to_thread(eventually, lambda: len(caplog.records) >= 2, "it is named twice")
            finally:
                go_on.set()
            assert await rpc.unary(lambda request, call: request, pool, "/quick")(7, Call()) == 7

    asyncio.run(run())
    assert {record.fields["method"] for record in caplog.records} == {"/snapshots/Remove"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [NotFound("x"), KeyError("x"), StopIteration()])
def test_an_error_of_a_plain_handler_reaches_its_caller(error: Exception) -> None:
    def handler(_request: Any, _call: Call) -> None:
        raise error

    async def main(pool: ThreadPoolExecutor) -> Any:
        return await asyncio.wait_for(rpc.unary(handler, pool)(None, Call()), 20)

    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)),
    ):
        asyncio.run(main(pool))


def test_a_call_that_its_caller_gave_up_before_it_began_is_not_begun() -> None:
    began: list[int] = []
    release = threading.Event()

    async def main(pool: ThreadPoolExecutor) -> None:
        held = asyncio.ensure_future(rpc.unary(lambda _request, _call: release.wait(20), pool)(None, Call()))
        late = asyncio.ensure_future(rpc.unary(lambda _request, _call: began.append(1), pool)(None, Call()))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait({late})
        release.set()
        await held

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(main(pool))
    assert not began
