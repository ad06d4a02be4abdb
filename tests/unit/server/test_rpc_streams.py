"""Plain generators as streams: what happens to them when their caller goes away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pycontainerd.contracts.service import Call
from pycontainerd.server import rpc


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
