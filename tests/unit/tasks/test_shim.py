"""A shim that stops answering costs its callers a deadline a few times, not for ever."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.empty_pb2 import Empty

from pycontainerd.contracts.errors import DeadlineExceeded, NotFound, Unavailable
from pycontainerd.tasks import bundle as bundles
from pycontainerd.tasks.endpoint import Endpoint
from pycontainerd.tasks.shim import Shim


class Client:
    """A connection on which ``answer`` decides what a call brings."""

    closed = False

    def __init__(self):
        self.calls = []
        self.answer = DeadlineExceeded("no answer within 2 s")

    async def call(self, service, method, request, response, **more):
        self.calls.append(method)
        if isinstance(self.answer, Exception):
            raise self.answer
        return response()


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def shim(client, tmp_path):
    bundle = bundles.create(str(tmp_path / "root"), str(tmp_path / "state"), "ns", "c", None)
    return Shim(bundle, Endpoint("unix:///run/x"), client)


def ask(shim, method="State"):
    return asyncio.run(shim.call(method, Empty(), Empty))


def test_a_wedged_shim_is_no_longer_asked_and_the_error_says_since_when(shim, client):
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            ask(shim)
    with pytest.raises(
        Unavailable, match=r"shim of task 'c' in namespace 'ns' does not answer since .*no answer within 2 s"
    ):
        ask(shim)
    assert len(client.calls) == 3


def test_a_wedged_shim_may_still_be_told_to_end(shim, client):
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            ask(shim)
    for method in ("Kill", "Delete", "Shutdown"):
        with pytest.raises(DeadlineExceeded):
            ask(shim, method)
    assert client.calls[3:] == ["Kill", "Delete", "Shutdown"]


def test_errors_are_answers(shim, client):
    client.answer = NotFound("no such process")
    for _ in range(10):
        with pytest.raises(NotFound):
            ask(shim)
    assert len(client.calls) == 10


def test_a_shim_that_comes_back_is_asked_as_before(shim, client, monkeypatch):
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            ask(shim)
    client.answer = None
    shim._breaker.retry_at = 0.0
    for _ in range(5):
        assert ask(shim) == Empty()
    assert len(client.calls) == 8
